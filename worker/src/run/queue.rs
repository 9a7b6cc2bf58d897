//! Works one queue: takes the next delivery whenever a slot is free.

use std::{convert::Infallible, sync::Arc};

use haul_common::{job::QueueName, ports::Delivery};
use tokio::sync::OwnedSemaphorePermit;

use super::{Hub, attempt, errand::Turn, feed, health::Gate, lanes::Lanes, room::Room};
use crate::stop::Level;

pub(super) async fn run(hub: Arc<Hub>, queue: QueueName) {
    let room = hub.rooms[&queue].clone();
    let (mut lanes, ends) = Lanes::new(hub.strict_lanes, room.prefetch.into());
    for (lane, to) in ends {
        let (hub, queue, room) = (hub.clone(), queue.clone(), room.clone());
        hub.io.clone().spawn(feed::run(hub, queue, lane, room, to));
    }
    tokio::select! {
        () = hub.stop.reached(Level::Quiet) => {}
        _ = take(&hub, &queue, &mut lanes, &room) => {}
    }
    lanes.release();
}

/// Takes one delivery after the other, until all feeds have ended.
async fn take(
    hub: &Arc<Hub>,
    queue: &QueueName,
    lanes: &mut Lanes,
    room: &Room,
) -> Option<Infallible> {
    let meters = hub.meters[queue].clone();
    let mut gate = hub.gates.gate(queue);
    let start = |delivery, slot, turn| {
        let attempt = attempt::run(hub.clone(), meters.clone(), delivery, slot, turn);
        // Boxed, for a task is moved several times until it is where it runs.
        hub.attempts.spawn(Box::pin(attempt));
    };
    loop {
        let slot = tokio::select! {
            slot = room.slot(lanes) => slot?,
            () = hub.health.away() => {
                give_back(hub, lanes).await?;
                continue;
            }
        };
        let turn = hub.errand.turn().await;
        let Some(delivery) = next(hub, &mut gate, lanes).await? else {
            give_back(hub, lanes).await?;
            continue;
        };
        if room.is_paused() {
            lanes.put_back(delivery.origin.1.index(), delivery);
            rest(room, lanes).await?;
            continue;
        }
        start(delivery, slot, turn);
        // What stands in the way of a job seldom changes: as long as it does not, the next ones start
        // without waiting for it.
        while let Some((delivery, slot, turn)) = at_hand(hub, &gate, lanes, room) {
            start(delivery, slot, turn);
        }
    }
}

fn at_hand(
    hub: &Hub,
    gate: &Gate<'_>,
    lanes: &mut Lanes,
    room: &Room,
) -> Option<(Delivery, OwnedSemaphorePermit, Turn)> {
    let clear = hub.health.is_well() && gate.is_as_before() && !room.is_paused();
    let turn = hub.errand.free_turn().filter(|_| clear)?;
    let slot = room.free()?;
    Some((lanes.at_hand()?, slot, turn))
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

/// Gives back what waits here while the queue is paused: the feeds have stopped.
async fn rest(room: &Room, lanes: &mut Lanes) -> Option<()> {
    tokio::select! {
        biased;
        () = room.resumes() => Some(()),
        () = lanes.give_back() => None,
    }
}

/// Gives back what waits here until the store answers: others may reach it. The feeds have stopped,
/// so that it does not come again.
async fn give_back(hub: &Hub, lanes: &mut Lanes) -> Option<()> {
    tokio::select! {
        biased;
        () = hub.health.well() => Some(()),
        () = lanes.give_back() => None,
    }
}
