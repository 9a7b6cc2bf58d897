//! Ends a worker that came for a few jobs, or for what is ready, once it has done that.

use std::{future::pending, num::NonZeroU32, sync::Arc, time::Duration};

use haul_common::job::JobId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::Hub;
use crate::{lease::ON_ITS_WAY, stop::Level};

/// How often it looks whether anything is left.
const LOOK: Duration = Duration::from_millis(150);
const AT_ONCE: usize = 500;

/// What the worker came for.
#[derive(Debug)]
pub(super) struct Errand {
    turns: Option<Turns>,
    until_idle: Option<Duration>,
}

/// Jobs that may still be started.
#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    unused: watch::Sender<u32>,
}

/// The right to start one job; goes back when it is dropped unused.
pub(super) struct Turn(Option<OwnedSemaphorePermit>);

impl Errand {
    pub(super) fn new(at_most: Option<NonZeroU32>, until_idle: Option<Duration>) -> Self {
        let turns = |jobs: NonZeroU32| Turns {
            free: Arc::new(Semaphore::new(jobs.get() as usize)),
            unused: watch::Sender::new(jobs.get()),
        };
        Self {
            turns: at_most.map(turns),
            until_idle,
        }
    }

    /// Waits until one more job may be started.
    pub(super) async fn turn(&self) -> Turn {
        match &self.turns {
            // Never closed, so that this cannot fail.
            Some(turns) => Turn(turns.free.clone().acquire_owned().await.ok()),
            None => Turn(None),
        }
    }

    /// The right to start one more job, where nobody counts.
    pub(super) fn free_turn(&self) -> Option<Turn> {
        self.turns.is_none().then_some(Turn(None))
    }

    /// The job has been started.
    pub(super) fn use_up(&self, turn: Turn) {
        if let (Some(turns), Some(permit)) = (&self.turns, turn.0) {
            permit.forget();
            turns.unused.send_modify(|unused| *unused -= 1);
        }
    }

    /// Waits until as many were started as it came for.
    async fn spent(&self) {
        match &self.turns {
            // The sender is in `self`, so that this cannot fail.
            Some(turns) => {
                drop(
                    turns
                        .unused
                        .subscribe()
                        .wait_for(|unused| *unused == 0)
                        .await,
                );
            }
            None => pending().await,
        }
    }
}

pub(super) async fn run(hub: Arc<Hub>) {
    if hub.errand.turns.is_none() && hub.errand.until_idle.is_none() {
        return;
    }
    tokio::select! {
        () = hub.stop.reached(Level::Quiet) => return,
        () = hub.errand.spent() => {}
        () = idle(&hub) => {}
    }
    hub.stop.raise(Level::Quiet);
    // However long it takes: the grace of a drain is for those who are told to go.
    hub.attempts.close();
    hub.attempts.wait().await;
    hub.stop.raise(Level::Drain);
}

/// Waits until nothing runs, and nothing has been ready for long enough.
async fn idle(hub: &Hub) {
    let Some(wait) = hub.errand.until_idle else {
        return pending().await;
    };
    hub.readiness.ready().await;
    // No janitor may have been here for long.
    let in_hand = |id: &JobId| hub.table.in_hand(id);
    if let Err(error) = hub.protocol.take_orphans(hub.id(), &in_hand, AT_ONCE).await {
        tracing::debug!(%error, "could not look for orphans");
    }
    let mut since = Instant::now();
    while since.elapsed() < wait.max(ON_ITS_WAY) {
        tokio::time::sleep(LOOK).await;
        if !hub.attempts.is_empty() || is_ready(hub).await {
            since = Instant::now();
        }
    }
}

/// Whether work waits; in doubt, it does.
async fn is_ready(hub: &Hub) -> bool {
    // What is paused does not become ready by waiting for it here.
    let rooms = hub.rooms.iter().filter(|(_, room)| !room.is_paused());
    for (queue, _) in rooms {
        match hub.protocol.backend().broker.facts(queue).await {
            Ok(facts) if facts.lanes.iter().all(|lane| lane.ready == 0) => {}
            _ => return true,
        }
    }
    false
}
