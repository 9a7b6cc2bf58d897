//! The port to what owns the work.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Finding, error::BrokerError};
use crate::{
    job::{Lane, QueueName},
    time::Timestamp,
    wire::Message,
};

/// What owns the work: keeps every accepted message until it is acknowledged.
///
/// Adapters rebuild their connections by themselves; every call has a deadline inside.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Makes the queues exist, with all that every queue needs. Cheap when they do.
    ///
    /// # Errors
    /// When the broker is away, refuses, or has them with other properties.
    async fn declare(&self, queues: &[QueueName]) -> Result<(), BrokerError>;

    /// Publishes all, durably and pipelined, and says of each what became of it, in order.
    async fn publish(&self, batch: Vec<Publication>) -> Vec<Confirm>;

    /// Starts a consumer with at most `prefetch` (at least 1) unsettled deliveries.
    ///
    /// The inbox ends when the consumer is lost; all that was unsettled is then somebody else's.
    /// Dropping the inbox stops the consumer and gives back what it had not handed out; deliveries
    /// that were handed out can still be settled.
    ///
    /// # Errors
    /// When the broker is away or refuses, or the queue was not declared.
    async fn consume(&self, source: Source, prefetch: u16) -> Result<Inbox, BrokerError>;

    /// What waits in a queue, by lane.
    ///
    /// # Errors
    /// When the broker is away or the queue does not exist.
    async fn facts(&self, queue: &QueueName) -> Result<QueueFacts, BrokerError>;

    /// How many messages that no queue wanted wait for a worker to look at them.
    ///
    /// # Errors
    /// When the broker is away.
    async fn unrouted(&self) -> Result<u64, BrokerError>;

    /// What it is, in a word.
    fn kind(&self) -> &'static str;

    /// Looks at connection, version, settings and these queues, for `haul doctor`.
    async fn check(&self, queues: &[QueueName]) -> Vec<Finding>;

    /// Waits for what is on its way out, then closes connections.
    async fn close(&self);
}

/// A message, and where it goes.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What is sent.
    pub message: Message,
    /// Where it goes.
    pub route: Route,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To a lane, at once.
    Lane(QueueName, Lane),
    /// To a lane, after a delay.
    Later {
        /// Which queue.
        queue: QueueName,
        /// Which lane.
        lane: Lane,
        /// How long to wait.
        delay: Duration,
        /// Up to 6 % late is fine, for fewer hops: for retries, whose jitter hides it.
        coarse: bool,
    },
    /// To the dead letters of a queue.
    Dead(QueueName),
    /// To the queue that a client named in `reply_to`. A broker without such queues accepts it
    /// and does nothing.
    Reply(String),
}

/// What became of a publication. Three values: *unknown* is not *refused*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// The broker has it, durably.
    Accepted,
    /// The broker does not have it, for this reason.
    Refused(String),
    /// Nobody knows, for this reason. Publish it again with the same id; a claim drops the copy.
    Unknown(String),
}

/// What a consumer reads from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A lane of a queue.
    Lane(QueueName, Lane),
    /// Messages that no queue wanted, and those that the broker itself gave up on.
    Unrouted,
}

/// A running consumer. Ends when the consumer is lost.
#[derive(Debug)]
pub struct Inbox(pub mpsc::Receiver<Delivery>);

/// A message that is ours until it is settled or its consumer is lost.
#[derive(Debug)]
pub struct Delivery {
    /// What came.
    pub message: Message,
    /// Where it came from: queue and lane, where known. Lost sheep carry what their routing key
    /// or their headers told.
    pub origin: (QueueName, Lane),
    /// How often it was delivered before, as well as the broker knows.
    pub returned: u32,
    /// When it was published, by its publisher's clock, where the broker keeps that. Lanes are
    /// first in, first out: what was put into this one earlier has been delivered.
    pub published: Option<Timestamp>,
    /// The broker itself gave up on it, for this reason.
    pub given_up: Option<String>,
    /// How to settle it.
    pub settlement: Settlement,
}

/// The right to settle one delivery, once. Dropped unused, the delivery stays unsettled until its
/// consumer ends, and then comes again.
#[derive(Debug)]
pub struct Settlement {
    tag: u64,
    /// Until it is settled.
    to: Option<mpsc::UnboundedSender<Fate>>,
}

/// A delivery's tag, and its verdict; none when it was dropped unsettled.
pub type Fate = (u64, Option<Verdict>);

/// What is to become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done: the broker forgets it.
    Ack,
    /// Back into its lane, at once.
    Release,
}

impl Settlement {
    /// For adapters: settles `tag` by sending its fate to the consumer's own task, which groups what
    /// waits. The channel holds at most one entry for each unsettled delivery.
    pub const fn new(tag: u64, to: mpsc::UnboundedSender<Fate>) -> Self {
        Self { tag, to: Some(to) }
    }

    /// Acknowledges. Only after all that must follow is confirmed and recorded.
    pub fn ack(self) {
        self.settle(Verdict::Ack);
    }

    /// Gives the message back.
    pub fn release(self) {
        self.settle(Verdict::Release);
    }

    /// Settles by this verdict.
    pub fn settle(mut self, verdict: Verdict) {
        self.tell(Some(verdict));
    }

    fn tell(&mut self, verdict: Option<Verdict>) {
        if let Some(to) = self.to.take() {
            // A consumer that is gone needs no word: its deliveries are already somebody else's.
            let _ = to.send((self.tag, verdict));
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// What waits in a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// By lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneFacts; 4],
    /// Dead letters.
    pub dead: u64,
}

/// What waits in a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneFacts {
    /// Messages that no consumer has.
    pub ready: u64,
    /// Consumers.
    pub consumers: u64,
}
