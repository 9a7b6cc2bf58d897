//! Works one queue: takes the next delivery whenever a slot is free.

use std::{convert::Infallible, sync::Arc};

use haul_common::job::QueueName;
use tokio::sync::Semaphore;

use super::{Hub, attempt, feed, lanes::Lanes};
use crate::stop::Level;

pub(super) async fn run(hub: Arc<Hub>, queue: QueueName, slots: u32) {
    let prefetch = u16::try_from(slots).unwrap_or(u16::MAX);
    let (mut lanes, ends) = Lanes::new(hub.strict_lanes, usize::from(prefetch));
    for (lane, to) in ends {
        hub.io
            .spawn(feed::run(hub.clone(), queue.clone(), lane, prefetch, to));
    }
    tokio::select! {
        () = hub.stop.reached(Level::Quiet) => {}
        _ = take(&hub, &queue, &mut lanes, slots) => {}
    }
    lanes.release();
}

/// Takes one delivery after the other, until all feeds have ended.
async fn take(
    hub: &Arc<Hub>,
    queue: &QueueName,
    lanes: &mut Lanes,
    slots: u32,
) -> Option<Infallible> {
    let slots = Arc::new(Semaphore::new(slots as usize));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot.ok()?,
            () = hub.health.away() => {
                give_back(hub, lanes).await?;
                continue;
            }
        };
        tokio::select! {
            biased;
            () = hub.health.well() => {}
            () = hub.health.away() => {
                give_back(hub, lanes).await?;
                continue;
            }
        }
        hub.gates.open(queue).await;
        let delivery = lanes.next().await?;
        hub.attempts
            .spawn(attempt::run(hub.clone(), delivery, slot));
    }
}

/// Gives back what waits here until the store answers: others may reach it. The feeds have stopped,
/// so that it does not come again.
async fn give_back(hub: &Hub, lanes: &mut Lanes) -> Option<()> {
    loop {
        tokio::select! {
            biased;
            () = hub.health.well() => return Some(()),
            delivery = lanes.next() => delivery?.settlement.release(),
        }
    }
}
