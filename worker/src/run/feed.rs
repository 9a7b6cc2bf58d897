//! Feeds one lane: keeps a consumer on it, and makes a new one when it is lost or deaf.

use std::{pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use haul_common::{
    job::{Lane, QueueName},
    ports::{Delivery, Inbox, Source},
};
use tokio::sync::mpsc;

use super::{Hub, room::Room};
use crate::stop::Level;

/// A consumer that got nothing for this long, while its lane has work, is deaf.
const DEAF_AFTER: Duration = Duration::from_secs(15);

/// Why a consumer ended.
enum End {
    Stop,
    /// All slots have been taken for long: whoever has a free one shall have the work. Or the queue
    /// is paused.
    Closed,
    Lost,
    /// The store is away for this worker; others may reach it, and shall have the work.
    Away,
}

pub(super) async fn run(
    hub: Arc<Hub>,
    queue: QueueName,
    lane: Lane,
    room: Arc<Room>,
    to: mpsc::Sender<Delivery>,
) {
    let mut waits = patience();
    loop {
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = hub.health.well() => {}
        }
        if room.is_paused() {
            // There is nothing that it should get, so that it misses nothing.
            let _attached = hub.readiness.attach(&queue, lane);
            tokio::select! {
                () = hub.stop.reached(Level::Quiet) => return,
                () = room.resumes() => continue,
            }
        }
        let source = Source::Lane(queue.clone(), lane);
        let consume = hub.protocol.backend().broker.consume(source, room.prefetch);
        let consumed = tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            consumed = consume => consumed,
        };
        match consumed {
            Ok(inbox) => {
                waits = patience();
                let attached = hub.readiness.attach(&queue, lane);
                let end = forward(&hub, &queue, lane, &room, inbox, &to).await;
                if let End::Closed = end {
                    tokio::select! {
                        () = hub.stop.reached(Level::Quiet) => return,
                        () = room.opens() => continue,
                    }
                }
                drop(attached);
                match end {
                    End::Stop => return,
                    End::Closed => {}
                    End::Away => {
                        tracing::warn!(%queue, %lane, "not consuming until the store answers");
                    }
                    End::Lost => {
                        tracing::warn!(%queue, %lane, "its consumer is lost; making another");
                    }
                }
            }
            Err(error) => {
                // With the broker away, all lanes say the same, and say it again.
                if hub.readiness.blame(&queue, lane, error.to_string()) {
                    tracing::warn!(%queue, %lane, %error, "no consumer yet");
                } else {
                    tracing::debug!(%queue, %lane, %error, "no consumer yet");
                }
                // It may have been deleted; what is wrong with declaring it, consuming tells.
                let _ = hub
                    .protocol
                    .backend()
                    .broker
                    .declare(std::slice::from_ref(&queue))
                    .await;
            }
        }
        let wait = waits.next().unwrap_or(Duration::from_secs(5));
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn patience() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .build()
}

async fn forward(
    hub: &Hub,
    queue: &QueueName,
    lane: Lane,
    room: &Room,
    mut inbox: Inbox,
    to: &mpsc::Sender<Delivery>,
) -> End {
    let mut suspect = false;
    let mut away = pin!(hub.health.away());
    let mut closes = pin!(room.closes());
    loop {
        tokio::select! {
            biased;
            () = hub.stop.reached(Level::Quiet) => return End::Stop,
            () = &mut away => return End::Away,
            () = &mut closes => return End::Closed,
            delivery = inbox.0.recv() => {
                suspect = false;
                if delivery.is_none() {
                    return End::Lost;
                }
                let mut next = delivery;
                // What is there already goes on with it.
                while let Some(delivery) = next {
                    hub.passed.note(queue, lane, &delivery);
                    if let Err(mpsc::error::SendError(delivery)) = to.send(delivery).await {
                        delivery.settlement.release();
                        return End::Stop;
                    }
                    next = inbox.0.try_recv().ok();
                }
            }
            () = tokio::time::sleep(DEAF_AFTER) => {
                // Twice in a row: a message may just have come and be on its way.
                let deaf = is_deaf(hub, queue, lane, to).await;
                if deaf && suspect {
                    tracing::warn!(%queue, %lane, "gets nothing although there is work");
                    return End::Lost;
                }
                suspect = deaf;
            }
        }
    }
}

/// Work waits, and nothing keeps us from getting it: with none of it at hand here, what runs leaves
/// half of the prefetch free.
async fn is_deaf(hub: &Hub, queue: &QueueName, lane: Lane, to: &mpsc::Sender<Delivery>) -> bool {
    if to.capacity() < to.max_capacity() {
        return false;
    }
    let facts = hub.protocol.backend().broker.facts(queue).await;
    facts.is_ok_and(|facts| facts.lanes[lane.index()].ready > 0)
}
