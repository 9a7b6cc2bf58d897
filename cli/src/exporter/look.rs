//! One look at the store and one at the broker.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{StreamExt, stream};
use haul_common::{
    job::Lane,
    metrics::families::{self, Families},
    ports::{Backend, BrokerError, QueueFacts, StoreError},
};
use haul_producer::{QueueName, StateKind, WorkerInfo};

use super::Objectives;

/// Queues that are shown at most.
const QUEUES_MAX: usize = 1000;
/// Queues that the broker is asked about at once.
const AT_ONCE: usize = 4;

/// What is looked at, and which queues were seen.
#[derive(Debug)]
pub(super) struct Look {
    backend: Backend,
    objectives: Objectives,
    /// The SQLite file, where that is the store.
    file: Option<PathBuf>,
    /// A queue that is empty now is shown as empty.
    queues: BTreeSet<QueueName>,
    families: &'static Families,
}

impl Look {
    pub(super) fn new(backend: Backend, objectives: Objectives, file: Option<PathBuf>) -> Self {
        let mut look = Self {
            backend,
            queues: BTreeSet::new(),
            file,
            families: families::get(),
            objectives,
        };
        let named: Vec<QueueName> = look.objectives.queues.keys().cloned().collect();
        named.into_iter().for_each(|queue| look.meet(queue));
        look
    }

    fn meet(&mut self, queue: QueueName) {
        if self.queues.contains(&queue) {
            return;
        }
        if self.queues.len() == QUEUES_MAX {
            tracing::warn!(%queue, "not shown: there are {QUEUES_MAX} queues already");
            return;
        }
        let objective = self.objectives.of(&queue).as_secs_f64();
        let label = [&*queue];
        self.families
            .objective
            .with_label_values(&label)
            .set(objective);
        self.queues.insert(queue);
    }

    /// Jobs by state, the oldest, pauses, and workers.
    pub(super) async fn at_store(&mut self) -> Result<(), StoreError> {
        let since = Instant::now();
        let store = self.backend.store.clone();
        let (counts, workers) = (store.counts().await?, store.workers().await?);
        let lost = store.lost_workers().await?;
        let pauses = store.pauses().await?;
        let of_workers = workers.iter().flat_map(|worker| worker.queues.keys());
        let met: Vec<QueueName> = counts
            .iter()
            .map(|counts| &counts.queue)
            .chain(of_workers)
            .chain(pauses.keys())
            .cloned()
            .collect();
        met.into_iter().for_each(|queue| self.meet(queue));
        let queues: Vec<QueueName> = self.queues.iter().cloned().collect();
        let (oldest, now) = (store.oldest(&queues).await?, store.now());
        for (queue, oldest) in queues.iter().zip(oldest) {
            let states = counts.iter().find(|counts| counts.queue == *queue);
            for state in StateKind::ALL {
                let jobs = states.and_then(|counts| counts.states.get(state));
                let labels = [&**queue, state.as_str()];
                set(
                    &self.families.queue_jobs,
                    &labels,
                    jobs.copied().unwrap_or(0),
                );
            }
            let paused = u64::from(pauses.contains_key(queue));
            set(&self.families.paused, &[queue], paused);
            let age = oldest.map(|since| now.since(since)).unwrap_or_default();
            let gauge = self.families.oldest.with_label_values(&[&**queue]);
            gauge.set(age.as_secs_f64());
        }
        self.show_workers(&workers);
        set(&self.families.workers, &["lost"], lost);
        self.show_file();
        self.looked(store.kind(), since.elapsed());
        Ok(())
    }

    fn show_workers(&self, workers: &[WorkerInfo]) {
        let (quiet, active): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.quiet);
        set(&self.families.workers, &["active"], active.len() as u64);
        set(&self.families.workers, &["quiet"], quiet.len() as u64);
        for queue in &self.queues {
            let slots: Vec<u32> = active
                .iter()
                .filter_map(|worker| worker.queues.get(queue).copied())
                .collect();
            let label = [&**queue];
            set(&self.families.queue_workers, &label, slots.len() as u64);
            let slots = slots.into_iter().map(u64::from).sum();
            set(&self.families.queue_slots, &label, slots);
        }
    }

    fn show_file(&self) {
        let Some(db) = &self.file else { return };
        let mut wal = db.clone().into_os_string();
        wal.push("-wal");
        for (file, path) in [("db", db.clone()), ("wal", wal.into())] {
            // A log that is not there is empty.
            let bytes = std::fs::metadata(path).map_or(0, |facts| facts.len());
            set(&self.families.file, &[file], bytes);
        }
    }

    /// What waits in it. A queue that nobody declared yet has nothing to show.
    pub(super) async fn at_broker(&self) -> Result<(), BrokerError> {
        let since = Instant::now();
        let broker = &self.backend.broker;
        let unrouted = broker.unrouted().await?;
        set(&self.families.unrouted, &[broker.kind()], unrouted);
        let mut looks = stream::iter(&self.queues)
            .map(|queue| async move { (queue, broker.facts(queue).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((queue, facts)) = looks.next().await {
            match facts {
                Ok(facts) => self.show_facts(queue, &facts),
                Err(BrokerError::Failed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.looked(broker.kind(), since.elapsed());
        Ok(())
    }

    fn show_facts(&self, queue: &QueueName, facts: &QueueFacts) {
        for (lane, seen) in Lane::ALL.iter().zip(facts.lanes) {
            let labels = [&**queue, lane.as_str()];
            set(&self.families.ready, &labels, seen.ready);
        }
        set(&self.families.dead_letters, &[queue], facts.dead);
    }

    fn looked(&self, backend: &str, took: Duration) {
        let (at, length) = (&self.families.polled, &self.families.poll_took);
        at.with_label_values(&[backend]).set(unix_now());
        length.with_label_values(&[backend]).set(took.as_secs_f64());
    }
}

/// The time now, as Prometheus wants it.
pub(super) fn unix_now() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 9·10¹⁵")]
fn set(gauge: &haul_common::metrics::prometheus::GaugeVec, labels: &[&str], value: u64) {
    gauge.with_label_values(labels).set(value as f64);
}
