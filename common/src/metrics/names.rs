//! Names that come from outside, as labels: bounded, whatever comes.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
};

/// What a name becomes that is not known.
pub const OTHER: &str = "other";

/// Names of queues, and of tasks, that a process shows at most.
pub const NAMES_MAX: usize = 256;

pub(super) static QUEUES: Names = Names(RwLock::new(BTreeSet::new()));
pub(super) static TASKS: Names = Names(RwLock::new(BTreeSet::new()));

/// Names that may be labels.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<BTreeSet<String>>);

impl Names {
    /// The name, if it has been learnt.
    pub(super) fn known<'n>(&self, name: &'n str) -> &'n str {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) { name } else { OTHER }
    }

    /// Learns the name, if there is room: for what this process itself was set up with.
    pub(super) fn learn<'n>(&self, name: &'n str) -> &'n str {
        if self.known(name) == OTHER {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() < NAMES_MAX {
                known.insert(name.to_owned());
            }
        }
        self.known(name)
    }
}
