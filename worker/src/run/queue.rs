//! Works one queue: takes the next delivery whenever a slot is free.

use std::{convert::Infallible, sync::Arc};

use haul_common::{job::QueueName, ports::Delivery};
use tokio::sync::Semaphore;

use super::{Hub, attempt, feed, health::Gate, lanes::Lanes};
use crate::stop::Level;

pub(super) async fn run(hub: Arc<Hub>, queue: QueueName, slots: u32) {
    // What runs is unsettled too: with no more than that, a lane whose jobs fill all slots never
    // has its next one at hand when a slot becomes free, and a lower lane takes it.
    let prefetch = u16::try_from(slots.saturating_mul(2)).unwrap_or(u16::MAX);
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
    let mut gate = hub.gates.gate(queue);
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot.ok()?,
            () = hub.health.away() => {
                give_back(hub, lanes).await?;
                continue;
            }
        };
        let Some(delivery) = next(hub, &mut gate, lanes).await? else {
            give_back(hub, lanes).await?;
            continue;
        };
        hub.attempts
            .spawn(attempt::run(hub.clone(), delivery, slot));
    }
}

/// The next delivery, once the backends answer and the queue is open; nothing instead when they
/// have not answered for a while.
async fn next(hub: &Hub, gate: &mut Gate<'_>, lanes: &mut Lanes) -> Option<Option<Delivery>> {
    loop {
        tokio::select! {
            biased;
            () = hub.health.well() => {}
            () = hub.health.away() => return Some(None),
        }
        gate.open().await;
        tokio::select! {
            biased;
            // Maybe this one: a job that comes now has to wait too.
            () = gate.closes() => {}
            delivery = lanes.next() => return delivery.map(Some),
        }
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
