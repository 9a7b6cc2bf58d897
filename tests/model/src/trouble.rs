//! Faults.

use crate::{
    rules::Rules,
    state::{Loop, World},
};
use haul_common::faults::Bug;

impl World {
    /// A worker is killed: its deliveries go back. It starts again with a new id.
    pub(crate) fn crash(&mut self, rules: &Rules, worker: usize) {
        self.left.crashes -= 1;
        let tasks = std::mem::take(&mut self.workers[worker].tasks);
        for task in &tasks {
            self.give_back(task);
        }
        let me = &mut self.workers[worker];
        if !rules.has(Bug::WorkerIdReused) {
            me.id += 2;
        }
        me.doubted = false;
        me.other = Loop::Idle;
    }

    /// A worker that lives is taken for dead.
    pub(crate) fn freeze(&mut self, worker: usize) {
        self.left.pauses -= 1;
        let me = &mut self.workers[worker];
        me.doubted = true;
        self.silent |= 1 << me.id;
    }

    /// The id of a worker that is gone and not yet taken for dead.
    pub(crate) fn may_fall(&self) -> Option<u8> {
        let owner = self.rec.and_then(|rec| rec.owner())?;
        let lives = self.workers.iter().any(|worker| worker.id == owner);
        (!lives && !self.is_silent(owner)).then_some(owner)
    }
}
