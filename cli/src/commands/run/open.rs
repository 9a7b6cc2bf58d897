//! The jobs of a run that have not ended.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use haul_common::life::Life;
use haul_producer::{JobId, Producer, StateKind, Timestamp};
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};

/// News of a job: where it is in its life.
pub(super) type News = (JobId, Life);

/// A job that has been quiet for so long is looked at.
const QUIET: Duration = Duration::from_secs(1);
/// So many are looked at together.
const LOOKED_AT: usize = 40;
/// Until a watch that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// A job that has not ended.
#[derive(Debug)]
pub(super) struct Open {
    /// The place of its item in the input.
    pub(super) number: u64,
    pub(super) item: String,
    /// What is done for it, where somebody asks.
    pub(super) deed: String,
    pub(super) state: StateKind,
    pub(super) began: Option<Timestamp>,
    /// It was running when this run found it: a process that is gone had it, maybe.
    pub(super) was_running: bool,
    /// This run stops it.
    pub(super) is_stopped: bool,
    heard: Instant,
    watcher: Option<AbortHandle>,
}

impl Open {
    pub(super) fn new(number: u64, item: String, deed: String, was_running: bool) -> Self {
        Self {
            number,
            item,
            deed,
            state: StateKind::Queued,
            began: None,
            was_running,
            is_stopped: false,
            heard: Instant::now(),
            watcher: None,
        }
    }

    /// It is somewhere else in its life.
    pub(super) fn hear(&mut self, life: &Life) {
        self.heard = Instant::now();
        self.state = life.state.kind();
        self.began = match &life.state {
            haul_common::job::State::Running { began, .. } => Some(*began),
            _ => None,
        };
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

/// The jobs of a run that have not ended.
#[derive(Debug, Default)]
pub(super) struct OpenJobs(HashMap<JobId, Open>);

impl OpenJobs {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, id: JobId, open: Open) {
        self.0.insert(id, open);
    }

    /// The same, of a job that other processes work on: its changes are told to `to`.
    pub(super) fn watch(
        &mut self,
        id: JobId,
        mut open: Open,
        producer: &Producer,
        to: &mpsc::UnboundedSender<News>,
    ) {
        let watching = tokio::spawn(watch(producer.clone(), id.clone(), to.clone()));
        open.watcher = Some(watching.abort_handle());
        self.0.insert(id, open);
    }

    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Open> {
        self.0.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Option<Open> {
        self.0.remove(id)
    }

    pub(super) fn count(&self, state: StateKind) -> usize {
        self.0.values().filter(|open| open.state == state).count()
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.0.keys().cloned().collect()
    }

    /// What runs, the longest first.
    pub(super) fn running(&self) -> Vec<(&JobId, &Open)> {
        let mut running: Vec<_> = self.0.iter().filter(|it| it.1.began.is_some()).collect();
        running.sort_by_key(|(_, open)| (open.began, open.number));
        running
    }

    /// Some that nothing was heard of for a while.
    pub(super) fn quiet(&mut self) -> Vec<JobId> {
        let now = Instant::now();
        let quiet = self.0.iter_mut().filter(|it| now - it.1.heard > QUIET);
        quiet
            .take(LOOKED_AT)
            .map(|(id, open)| {
                open.heard = now;
                id.clone()
            })
            .collect()
    }
}

async fn watch(producer: Producer, id: JobId, to: mpsc::UnboundedSender<News>) {
    loop {
        if let Ok(changes) = producer.watch(&id).await {
            let mut changes = std::pin::pin!(changes);
            while let Some(record) = changes.next().await {
                // Nobody listens any more: the run is over.
                if to.send((id.clone(), record.life)).is_err() {
                    return;
                }
            }
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
