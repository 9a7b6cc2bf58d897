//! Looks for jobs that wait although their message is gone: the store came back without its newest
//! writes, or somebody emptied a queue. They get another message.
//!
//! Lanes are first in, first out. Once a lane is empty, or has delivered what was published at some
//! time, whatever was due well before has had its turn. So nothing is sent again only because a
//! backlog is long. Where a message was there after all, held by a busy worker, a claim drops the
//! copy.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use haul_common::{
    job::{JobId, Lane, QueueName, Record},
    ports::Delivery,
    protocol::ProtocolError,
    time::Timestamp,
};
use tokio::time::Instant;

use super::Hub;
use crate::stop::Level;

const EVERY: Duration = Duration::from_secs(10);
/// How long a delivery may be on its way to a worker that then turns out to be gone: longer than
/// connections need to fail.
const GRACE: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 500;
/// The same job gets the next message after this at the earliest, then twice as long, and so on.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Until when each lane has been delivered, in milliseconds.
#[derive(Debug)]
pub(super) struct Passed(BTreeMap<QueueName, [AtomicI64; 4]>);

impl Passed {
    pub(super) fn new<'q>(queues: impl Iterator<Item = &'q QueueName>) -> Self {
        Self(
            queues
                .map(|queue| (queue.clone(), Default::default()))
                .collect(),
        )
    }

    /// A delivery that came again says nothing about what was put in after it.
    pub(super) fn note(&self, queue: &QueueName, lane: Lane, delivery: &Delivery) {
        let published = delivery.published.filter(|_| delivery.returned == 0);
        if let (Some(lanes), Some(at)) = (self.0.get(queue), published) {
            lanes[lane.index()].fetch_max(at.as_millis(), Ordering::Relaxed);
        }
    }

    fn until(&self, queue: &QueueName, lane: usize) -> Timestamp {
        let lanes = self.0.get(queue);
        let until = lanes.map_or(0, |lanes| lanes[lane].load(Ordering::Relaxed));
        Timestamp::from_millis(until)
    }
}

pub(super) async fn run(hub: Arc<Hub>) {
    let mut sent = HashMap::new();
    loop {
        let pause = EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let mut seen = HashMap::new();
        for queue in hub.worker.queues.keys() {
            if hub.health.is_well()
                && let Err(error) = look(&hub, queue, &sent, &mut seen).await
            {
                tracing::debug!(%queue, %error, "could not look for jobs without a message");
            }
        }
        sent = seen;
    }
}

/// When a job may get the next message, and how long after that the one after it.
type Again = (Instant, Duration);

async fn look(
    hub: &Hub,
    queue: &QueueName,
    sent: &HashMap<JobId, Again>,
    seen: &mut HashMap<JobId, Again>,
) -> Result<(), ProtocolError> {
    let Some(until) = delivered_until(hub, queue).await else {
        return Ok(());
    };
    let store = &hub.protocol.backend().store;
    let overdue = store.overdue(queue, until - GRACE, AT_ONCE).await?;
    for Record { spec, life, .. } in overdue {
        if hub.table.in_hand(&spec.id) {
            continue;
        }
        let (at, wait) = sent
            .get(&spec.id)
            .copied()
            .unwrap_or((Instant::now(), AGAIN_AFTER));
        if Instant::now() < at {
            seen.insert(spec.id, (at, wait));
            continue;
        }
        hub.protocol.send_again(&spec, &life).await?;
        tracing::info!(job = %spec.id, %queue, state = %life.state.kind(),
            "it waited beyond its turn: another message is sent");
        let next = (Instant::now() + wait, (wait * 2).min(AGAIN_AFTER_MAX));
        seen.insert(spec.id, next);
    }
    Ok(())
}

/// Until when every lane has been delivered; nothing while the broker does not tell.
async fn delivered_until(hub: &Hub, queue: &QueueName) -> Option<Timestamp> {
    let backend = hub.protocol.backend();
    let now = backend.store.now();
    let facts = backend.broker.facts(queue).await.ok()?;
    let until = |(lane, facts): (usize, &haul_common::ports::LaneFacts)| match facts.ready {
        0 => now,
        _ => hub.passed.until(queue, lane),
    };
    facts.lanes.iter().enumerate().map(until).min()
}
