//! Says that the worker lives, and hears which attempts are to stop.

use std::{sync::Arc, time::Duration};

use haul_common::{
    ports::{Beat, Pulse, StoreError, Topic, Watch},
    protocol::HEARTBEAT,
};

use super::Hub;
use crate::{context::StopCause, stop::Level};

/// While the store is away, it is asked this often.
const WHILE_AWAY: Duration = Duration::from_millis(500);

/// Beats until the worker has stopped. A cancel makes it beat at once.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut cancels = watch(&hub).await;
    loop {
        let well = match beat(&hub).await {
            Ok(pulse) => {
                act(&hub, &pulse);
                true
            }
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

pub(super) async fn beat(hub: &Hub) -> Result<Pulse, StoreError> {
    let beat = Beat {
        worker: hub.worker.clone(),
        running: hub.table.running(),
    };
    hub.protocol.backend().store.beat(beat).await
}

fn act(hub: &Hub, pulse: &Pulse) {
    for id in &pulse.cancelled {
        hub.table.stop(id, StopCause::Cancelled);
    }
    for id in &pulse.lost {
        hub.table.stop(id, StopCause::Lost);
    }
}
