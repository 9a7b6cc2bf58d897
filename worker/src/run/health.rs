//! Whether the loops may take new jobs.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use haul_common::job::QueueName;
use tokio::{sync::watch, time::Instant};

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
}

/// Backends that do not answer for this long may well answer others: what waits here goes back.
const AWAY_AFTER: Duration = Duration::from_secs(5);

impl Health {
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
pub(super) struct Gates(Mutex<HashMap<QueueName, Instant>>);

/// No handler holds a queue up for longer than this at a time.
const CLOSED_MAX: Duration = Duration::from_secs(300);

impl Gates {
    fn closed(&self) -> std::sync::MutexGuard<'_, HashMap<QueueName, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close_for(&self, queue: &QueueName, wait: Duration) {
        let until = Instant::now() + wait.min(CLOSED_MAX);
        let mut closed = self.closed();
        let at = closed.entry(queue.clone()).or_insert(until);
        *at = until.max(*at);
    }

    /// Waits until the queue is open.
    pub(super) async fn open(&self, queue: &QueueName) {
        loop {
            let until = self.closed().get(queue).copied();
            match until {
                Some(at) if at > Instant::now() => tokio::time::sleep_until(at).await,
                _ => return,
            }
        }
    }
}

/// Which share of the consumers is attached and gets what it should.
#[derive(Debug)]
pub(super) struct Readiness {
    attached: Mutex<usize>,
    wanted: usize,
    ready: watch::Sender<bool>,
}

impl Readiness {
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            attached: Mutex::new(0),
            wanted,
            ready: watch::Sender::new(false),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(super) async fn ready(&self) {
        let _ = self.subscribe().wait_for(|ready| *ready).await;
    }

    /// Counts a consumer as attached until the guard is dropped.
    pub(super) fn attach(&self) -> Attached<'_> {
        self.count(|n| n + 1);
        Attached(self)
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        *attached = change(*attached);
        let ready = *attached >= self.wanted;
        if self
            .ready
            .send_if_modified(|now| std::mem::replace(now, ready) != ready)
        {
            if ready {
                tracing::info!("ready");
            } else {
                tracing::warn!("not ready: a consumer is missing");
            }
        }
    }
}

pub(super) struct Attached<'r>(&'r Readiness);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.0.count(|n| n.saturating_sub(1));
    }
}
