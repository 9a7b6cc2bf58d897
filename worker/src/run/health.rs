//! Whether the loops may take new jobs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use haul_common::job::{Lane, QueueName};
use tokio::{sync::watch, time::Instant};

/// Backends that do not answer for this long may well answer others: what waits here goes back.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// Whether the backends answer. While they do not, nothing new is taken.
#[derive(Debug)]
pub(super) struct Health(watch::Sender<bool>);

impl Default for Health {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Health {
    pub(super) fn report(&self, well: bool) {
        self.0
            .send_if_modified(|now| std::mem::replace(now, well) != well);
    }

    pub(super) fn is_well(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the backends answer.
    pub(super) async fn well(&self) {
        let _ = self.0.subscribe().wait_for(|well| *well).await;
    }

    /// Waits until the backends have not answered for a while.
    pub(super) async fn away(&self) {
        let mut watch = self.0.subscribe();
        loop {
            // The sender is in `self`, so that neither can fail.
            let _ = watch.wait_for(|well| !well).await;
            let back = watch.wait_for(|well| *well);
            if tokio::time::timeout(AWAY_AFTER, back).await.is_err() {
                return;
            }
        }
    }
}

/// Queues that slow down because somebody asked for less.
#[derive(Debug, Default)]
pub(super) struct Gates(watch::Sender<HashMap<QueueName, Instant>>);

/// No handler holds a queue up for longer than this at a time.
const CLOSED_MAX: Duration = Duration::from_secs(300);

impl Gates {
    pub(super) fn close_for(&self, queue: &QueueName, wait: Duration) {
        let until = Instant::now() + wait.min(CLOSED_MAX);
        self.0.send_modify(|closed| {
            let at = closed.entry(queue.clone()).or_insert(until);
            *at = until.max(*at);
        });
    }

    /// What waits for `queue` to be open, and is told when it closes.
    pub(super) fn gate<'q>(&self, queue: &'q QueueName) -> Gate<'q> {
        let closed = self.0.subscribe();
        Gate { queue, closed }
    }
}

/// One queue's gate.
pub(super) struct Gate<'q> {
    queue: &'q QueueName,
    closed: watch::Receiver<HashMap<QueueName, Instant>>,
}

impl Gate<'_> {
    /// Whether nobody has closed any queue since this was last waited for.
    pub(super) fn is_as_before(&self) -> bool {
        self.closed.has_changed().is_ok_and(|changed| !changed)
    }

    /// Waits until the queue is open.
    pub(super) async fn open(&mut self) {
        loop {
            let until = self.closed.borrow_and_update().get(self.queue).copied();
            match until {
                Some(at) if at > Instant::now() => tokio::time::sleep_until(at).await,
                _ => return,
            }
        }
    }

    /// Waits until some queue closes.
    pub(super) async fn closes(&mut self) {
        if self.closed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Lanes without a consumer, and why they have none, where that was told.
type Missing = BTreeMap<(QueueName, Lane), Option<String>>;

/// Which consumers are attached and get what they should.
#[derive(Debug)]
pub(super) struct Readiness {
    missing: Mutex<Missing>,
    ready: watch::Sender<bool>,
}

impl Readiness {
    /// For a consumer on each lane of these queues.
    pub(super) fn new<'q>(queues: impl Iterator<Item = &'q QueueName>) -> Self {
        let lanes = |queue: &QueueName| Lane::ALL.map(|lane| ((queue.clone(), lane), None));
        Self {
            missing: Mutex::new(queues.flat_map(lanes).collect()),
            ready: watch::Sender::new(false),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(super) async fn ready(&self) {
        let _ = self.subscribe().wait_for(|ready| *ready).await;
    }

    /// Lanes without a consumer.
    pub(super) fn missing(&self) -> Missing {
        self.lock().clone()
    }

    /// Why a lane has no consumer; and whether that is news, of whatever lane.
    pub(super) fn blame(&self, queue: &QueueName, lane: Lane, why: String) -> bool {
        let mut missing = self.lock();
        let is_news = !missing.values().flatten().any(|known| *known == why);
        if let Some(known) = missing.get_mut(&(queue.clone(), lane)) {
            *known = Some(why);
        }
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the consumer of a lane as attached until the guard is dropped.
    pub(super) fn attach(&self, queue: &QueueName, lane: Lane) -> Attached<'_> {
        let lane = (queue.clone(), lane);
        self.change(|missing| {
            missing.remove(&lane);
        });
        Attached {
            readiness: self,
            lane,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Missing)) {
        let mut missing = self.lock();
        change(&mut missing);
        let ready = missing.is_empty();
        let changed = self
            .ready
            .send_if_modified(|now| std::mem::replace(now, ready) != ready);
        // Why it is not is told where the consumer is lost, or where the worker stops.
        if changed && ready {
            tracing::info!("ready");
        }
    }
}

pub(super) struct Attached<'r> {
    readiness: &'r Readiness,
    lane: (QueueName, Lane),
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let lane = self.lane.clone();
        self.readiness.change(|missing| {
            missing.insert(lane, None);
        });
    }
}
