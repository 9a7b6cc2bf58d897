//! Which jobs this process works on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use haul_common::{
    job::{Fence, JobId, QueueName, State},
    time::Timestamp,
};

use crate::context::{Core, StopCause};

/// Which jobs this process works on: those it is about to claim, and those it runs.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Deliveries in hand, by job.
    busy: HashMap<JobId, usize>,
    running: HashMap<JobId, (Fence, Arc<Core>)>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("job", &self.spec().id)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a job as in hand until the guard is dropped: from before its claim until after its
    /// end is written. So a claim whose answer was lost is told from one that runs.
    pub(super) fn busy(&self, id: JobId) -> Busy<'_> {
        *self.inner().busy.entry(id.clone()).or_default() += 1;
        Busy { table: self, id }
    }

    pub(super) fn run(&self, core: &Arc<Core>) {
        let spec = core.spec();
        let fence = core.assignment.life.fence;
        self.inner()
            .running
            .insert(spec.id.clone(), (fence, core.clone()));
    }

    pub(super) fn running(&self) -> Vec<(JobId, Fence)> {
        self.inner()
            .running
            .iter()
            .map(|(id, (fence, _))| (id.clone(), *fence))
            .collect()
    }

    /// When the attempt of each queue began that has run longest here.
    pub(super) fn oldest(&self) -> BTreeMap<QueueName, Timestamp> {
        let mut oldest = BTreeMap::new();
        for (_, core) in self.inner().running.values() {
            if let State::Running { began, .. } = core.assignment.life.state {
                let queue = core.spec().queue.clone();
                let first = oldest.entry(queue).or_insert(began);
                *first = began.min(*first);
            }
        }
        oldest
    }

    /// The attempt of this job that runs here.
    pub(super) fn core(&self, id: &JobId) -> Option<Arc<Core>> {
        let inner = self.inner();
        inner.running.get(id).map(|(_, core)| core.clone())
    }

    /// Whether this process has the job in hand: is about to claim it, runs it, or writes its end.
    pub(super) fn in_hand(&self, id: &JobId) -> bool {
        self.inner().busy.contains_key(id)
    }

    /// Asks all attempts to stop.
    pub(super) fn stop_all(&self, cause: StopCause) {
        let cores: Vec<_> = self.inner().running.values().cloned().collect();
        cores.iter().for_each(|(_, core)| core.stop(cause));
    }

    /// Asks the attempt of this job that has this fence to stop.
    pub(super) fn stop(&self, id: &JobId, fence: Fence, cause: StopCause) {
        let core = match self.inner().running.get(id) {
            Some((running, core)) if *running == fence => core.clone(),
            _ => return,
        };
        core.stop(cause);
    }
}

/// A job in hand.
pub(super) struct Busy<'t> {
    table: &'t Table,
    id: JobId,
}

impl Busy<'_> {
    /// Whether another delivery of the same job is in hand here.
    pub(super) fn elsewhere(&self) -> bool {
        self.table
            .inner()
            .busy
            .get(&self.id)
            .is_some_and(|count| *count > 1)
    }

    /// The attempt has ended and is written.
    pub(super) fn ended(&self, fence: Fence) {
        let mut inner = self.table.inner();
        if inner
            .running
            .get(&self.id)
            .is_some_and(|(running, _)| *running == fence)
        {
            inner.running.remove(&self.id);
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut inner = self.table.inner();
        if let Some(count) = inner.busy.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                inner.busy.remove(&self.id);
            }
        }
    }
}
