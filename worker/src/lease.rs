//! Takes jobs on a lease, for programs that are no workers and settle them later, from wherever.

use std::{future::poll_fn, task::Poll, time::Duration};

use haul_common::{
    job::{Lane, QueueName, WorkerId},
    ports::{BrokerError, Delivery, Source, StoreError, Topic, Watch},
    protocol::{Leased, Protocol, ProtocolError},
};
use tokio::time::{Instant, timeout, timeout_at};

/// What is ready comes within this long, unless somebody else gets it.
const COMES: Duration = Duration::from_secs(2);
/// What is about to be ready comes within this long: it falls due, or whoever held it has just died.
/// On SQLite, that is looked at once a second.
pub(crate) const ON_ITS_WAY: Duration = Duration::from_millis(1500);
/// Leases that ran out, which are looked for first.
const ORPHANS: usize = 100;

/// A job that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backend failed while the job was taken.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Takes the next job of `queue` that is ready, of the highest lane, for as long as `lease` says;
/// nothing when there is none within `wait`, as there is none of a queue that is paused all that time.
///
/// # Errors
/// When a backend is away.
pub async fn take(
    protocol: &Protocol,
    queue: &QueueName,
    lease: Duration,
    wait: Duration,
) -> Result<Option<Leased>, TakeError> {
    let end = Instant::now() + wait;
    let broker = &protocol.backend().broker;
    broker.declare(std::slice::from_ref(queue)).await?;
    // Where no worker heals, a lease that ran out would come back when its guard comes only.
    let me = WorkerId::random();
    protocol.take_orphans(&me, &|_| false, ORPHANS).await?;
    // Before the first look at what is paused: a pause that comes after it is noticed.
    let mut wishes = protocol.backend().store.watch(Topic::Cancels).await?;
    loop {
        if is_paused(protocol, queue).await? {
            match timeout_at(end, becomes(protocol, queue, &mut wishes, false)).await {
                Ok(resumed) => resumed?,
                Err(_) => return Ok(None),
            }
        }
        let delivery = tokio::select! {
            biased;
            delivery = look(protocol, queue, end) => delivery?,
            paused = becomes(protocol, queue, &mut wishes, true) => {
                paused?;
                continue;
            }
        };
        match delivery {
            Some(delivery) => {
                if let Some(leased) = protocol.lease(delivery, lease).await? {
                    return Ok(Some(leased));
                }
            }
            None if Instant::now() >= end => return Ok(None),
            None => {}
        }
    }
}

/// Waits until `queue` is paused, or is not.
async fn becomes(
    protocol: &Protocol,
    queue: &QueueName,
    wishes: &mut Watch,
    paused: bool,
) -> Result<(), StoreError> {
    while is_paused(protocol, queue).await? != paused {
        wishes.changed().await;
    }
    Ok(())
}

async fn is_paused(protocol: &Protocol, queue: &QueueName) -> Result<bool, StoreError> {
    let pauses = protocol.backend().store.pauses().await?;
    Ok(pauses.contains_key(queue))
}

/// The next delivery of the highest lane that has one.
async fn look(
    protocol: &Protocol,
    queue: &QueueName,
    end: Instant,
) -> Result<Option<Delivery>, BrokerError> {
    let lanes = protocol.backend().broker.facts(queue).await?.lanes;
    let mut ready = Lane::ALL.into_iter().zip(lanes);
    match ready.find(|(_, facts)| facts.ready > 0) {
        Some((lane, _)) => first(protocol, queue, &[lane], COMES).await,
        None => {
            let left = end.saturating_duration_since(Instant::now());
            first(protocol, queue, &Lane::ALL, left.max(ON_ITS_WAY)).await
        }
    }
}

/// The first delivery of these lanes that comes within `wait`; of several, that of the first lane.
async fn first(
    protocol: &Protocol,
    queue: &QueueName,
    lanes: &[Lane],
    wait: Duration,
) -> Result<Option<Delivery>, BrokerError> {
    let broker = &protocol.backend().broker;
    let mut inboxes = Vec::new();
    for lane in lanes {
        let source = Source::Lane(queue.clone(), *lane);
        inboxes.push(broker.consume(source, 1).await?.0);
    }
    let next = poll_fn(|cx| {
        let mut lost = 0;
        for inbox in &mut inboxes {
            match inbox.poll_recv(cx) {
                Poll::Ready(Some(delivery)) => return Poll::Ready(Some(delivery)),
                Poll::Ready(None) => lost += 1,
                Poll::Pending => {}
            }
        }
        if lost == lanes.len() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    });
    Ok(timeout(wait, next).await.ok().flatten())
}
