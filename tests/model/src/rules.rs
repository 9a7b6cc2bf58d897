//! One configuration: what may happen, which bug is planted, and which events were seen.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use haul_common::faults::Bug;

use crate::state::Budget;

/// What may happen in a world.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Its name in reports.
    pub name: &'static str,
    /// How often each thing may happen.
    pub budget: Budget,
    /// The job is submitted to start in an hour.
    pub later: bool,
    /// How many deliveries each worker holds at once.
    pub hands: [usize; 2],
    /// Which workers look for orphans and for jobs beyond their turn, and remind the store.
    pub healers: [bool; 2],
    /// A bug that is planted.
    pub bug: Option<Bug>,
    /// Which events were seen, by bit; shared by clones.
    seen: Arc<AtomicU64>,
}

macro_rules! events {
    ($($(#[$doc:meta])* $event:ident,)+) => {
        /// Something that a model in which nothing goes wrong would never show.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Event { $($(#[$doc])* $event,)+ }

        impl Event {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$event,)+];
        }
    };
}

events! {
    /// Two handlers of the job run at once.
    DuplicateRun,
    /// The end of an attempt that had lost its job is refused.
    StaleEndRefused,
    /// A message takes the job from a vanished worker.
    TakenByMessage,
    /// That message was a guard.
    TakenByGuard,
    /// The janitor takes the job from a vanished worker.
    TakenByJanitor,
    /// The last worker that a job survives is lost.
    LostForGood,
    /// A cancel comes after the end.
    CancelTooLate,
    /// A waiting job is cancelled.
    CancelledBefore,
    /// A running job stops because it was asked to.
    CancelledWithin,
    /// An end that did not know of the wish to stop becomes one.
    Heeded,
    /// The end is written from where a store has fallen back to.
    WrittenInstead,
    /// The end was written already; only the answer was lost.
    WrittenBefore,
    /// The end is written where there was no record.
    WrittenAnew,
    /// A message proves a later attempt than the store knows.
    FastForward,
    /// A claim whose answer was lost is taken back.
    Unclaimed,
    /// A message makes a record that was missing.
    Recreated,
    /// A publication of unknown fate is published again, and is there twice.
    PublishedTwice,
    /// A message waits for a live worker.
    PutOffRunning,
    /// A message came too early.
    PutOffEarly,
    /// A message of an ended job publishes the dead letter again.
    BuriedAgain,
    /// Whoever asked for it changes the record of a redrive.
    RedrivenByRecord,
    /// The message of a redrive changes the record.
    RedrivenByMessage,
    /// A store is told again of an attempt that it forgot.
    Reasserted,
    /// A worker takes back a job that it has by the record only.
    Disowned,
    /// A job gets another message because its own is gone.
    SentAgain,
    /// An attempt is given back whose delivery a guard stands in for.
    ReleasedAfterGuard,
}

impl Rules {
    /// Nothing goes wrong, yet.
    pub fn new(name: &'static str, budget: Budget) -> Self {
        Self {
            name,
            budget,
            later: false,
            hands: [1, 1],
            healers: [true, true],
            bug: None,
            seen: Arc::default(),
        }
    }

    /// With this bug.
    #[must_use]
    pub fn with(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// Whether this bug is planted.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(crate) fn see(&self, event: Event) {
        self.seen.fetch_or(1 << event as u64, Ordering::Relaxed);
    }

    /// Which events were seen.
    pub fn seen(&self) -> Vec<Event> {
        let seen = self.seen.load(Ordering::Relaxed);
        let was = |event: &Event| seen & (1 << *event as u64) != 0;
        Event::ALL.iter().copied().filter(was).collect()
    }
}
