//! Says that the worker lives, and hears which attempts are to stop, and which queues are paused.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use haul_common::{
    job::{Fence, JobId},
    ports::{Beat, Pulse, StoreError, Topic, Watch},
    protocol::HEARTBEAT,
};
use tokio::time::Instant;

use super::Hub;
use crate::{context::StopCause, stop::Level};

/// While the store is away, it is asked this often.
const WHILE_AWAY: Duration = Duration::from_millis(500);

/// Beats until the worker has stopped. A cancel or a pause makes it beat at once.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut cancels = watch(&hub).await;
    loop {
        hub.alive.turn();
        let well = match beat(&hub).await {
            Ok(()) => true,
            Err(error) => {
                if hub.health.is_well() {
                    tracing::warn!(%error, "taking no new jobs until the store answers");
                }
                false
            }
        };
        if well && !hub.health.is_well() {
            tracing::info!("the store answers again");
        }
        hub.health.report(well);
        if cancels.is_none() {
            cancels = watch(&hub).await;
        }
        let pause = if well { HEARTBEAT } else { WHILE_AWAY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = ticked(&mut cancels) => {}
            () = stopped(&hub) => return,
        }
    }
}

/// Until the last attempt has ended: a worker that drains is alive.
async fn stopped(hub: &Hub) {
    hub.stop.reached(Level::Abort).await;
    hub.attempts.wait().await;
}

async fn watch(hub: &Hub) -> Option<Watch> {
    hub.protocol
        .backend()
        .store
        .watch(Topic::Cancels)
        .await
        .ok()
}

async fn ticked(cancels: &mut Option<Watch>) {
    match cancels {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn beat(hub: &Hub) -> Result<(), StoreError> {
    let running = hub.table.running();
    measure(hub);
    let mut worker = hub.worker.clone();
    worker.quiet = hub.stop.has_reached(Level::Quiet);
    let beat = Beat {
        worker,
        running: running.clone(),
    };
    let sent = Instant::now();
    let pulse = hub.protocol.backend().store.beat(beat).await?;
    hub.tenure.beat(sent, Instant::now());
    act(hub, &pulse, running.into_iter().collect());
    pause(hub, &pulse);
    join_all(pulse.forgotten.iter().map(|id| remind(hub, id))).await;
    Ok(())
}

/// How long the longest attempt of each queue has run.
fn measure(hub: &Hub) {
    let (now, oldest) = (hub.protocol.backend().store.now(), hub.table.oldest());
    for (queue, meters) in &hub.meters {
        let age = oldest.get(queue).map(|began| now.since(*began));
        meters.longest.set(age.unwrap_or_default().as_secs_f64());
    }
}

/// Nothing new is taken from paused queues. What runs goes on.
fn pause(hub: &Hub, pulse: &Pulse) {
    for (queue, room) in &hub.rooms {
        let paused = pulse.paused.contains(queue);
        if room.turns_paused(paused) {
            let now = if paused {
                "paused: nothing new is started"
            } else {
                "no longer paused"
            };
            tracing::info!(%queue, "{now}");
        }
    }
}

/// The store came back without its newest writes.
async fn remind(hub: &Hub, id: &JobId) {
    let Some(core) = hub.table.core(id) else {
        return;
    };
    match hub.protocol.reassert(&core.assignment).await {
        Ok(true) => tracing::info!(job = %id, "the store had forgotten that it runs here"),
        Ok(false) => core.stop(StopCause::Lost),
        Err(error) => tracing::debug!(job = %id, %error, "the store was not told that it runs"),
    }
}

/// Stops the attempts that the beat spoke of, and no later one: while it was on its way, an
/// attempt may have ended, and the next one of its job may have begun here.
fn act(hub: &Hub, pulse: &Pulse, beaten: HashMap<JobId, Fence>) {
    let told = [
        (&pulse.cancelled, StopCause::Cancelled),
        (&pulse.lost, StopCause::Lost),
    ];
    for (ids, cause) in told {
        for id in ids {
            if let Some(fence) = beaten.get(id) {
                hub.table.stop(id, *fence, cause);
            }
        }
    }
}
