//! The broker that is RabbitMQ, 3.10 or newer.
//!
//! Read in this order: [`topology`] (what is on the broker), [`link`] (one connection, dropped whole
//! and rebuilt), [`publisher`] (one task owns the confirm channel, [`window`] decides what the
//! answers mean), [`consumer`] (one task and one channel for each consumer, [`settle`] groups its
//! acknowledgements, [`gather`] tells when they go), [`sieve`] (makes harmless what would end the
//! connection), [`convert`] (messages), [`facts`] and [`management`] (looking).
//!
//! What must stay true:
//! * Two connections: a broker out of memory stops reading from those that publish, and that must
//!   not stop acknowledgements. What is declared travels with what is published.
//! * Never the client library's own recovery: it may hang, and says nothing while it is away.
//! * A confirm is *accepted* only when nothing speaks against it; see [`window`].
//! * A delivery tag never outlives its channel: each consumer's task owns both.

mod address;
mod consumer;
mod convert;
#[cfg(feature = "faults")]
pub mod door;
mod errors;
mod facts;
mod gather;
mod link;
pub mod management;
mod parcel;
mod plan;
mod publisher;
mod sent;
mod settle;
mod sieve;
#[cfg(test)]
mod tests;
mod topology;
mod wash;
mod window;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::{
    address::Address, consumer::Consumers, link::Link, publisher::Publisher, topology::Topology,
};
use crate::{
    job::QueueName,
    metrics::PublishMeters,
    ports::{Broker, BrokerError, Confirm, Finding, Inbox, Publication, QueueFacts, Source},
    wire::topology::Namespace,
};

/// What it is, in logs and metrics.
const KIND: &str = "rabbitmq";

/// How long the broker may take to answer one request, and to confirm one window of messages.
const ANSWER: Duration = Duration::from_secs(5);

/// A RabbitMQ server or cluster.
pub struct RabbitMq {
    names: Namespace,
    publishing: Arc<Link>,
    consuming: Arc<Link>,
    topology: Arc<Topology>,
    publisher: Publisher,
    consumers: Consumers,
    meters: PublishMeters,
}

impl RabbitMq {
    /// Connects to `url` (`amqp://` or `amqps://`), to find out now whether that works.
    ///
    /// # Errors
    /// When the URL is wrong, or the broker is away or refuses us.
    pub async fn connect(url: &str, namespace: Namespace) -> Result<Arc<Self>, BrokerError> {
        let address = Arc::new(Address::parse(url)?);
        let publishing = Arc::new(Link::new("publish", Arc::clone(&address)));
        let consuming = Arc::new(Link::new("consume", address));
        publishing.live().await?;
        [&publishing, &consuming].into_iter().for_each(link::keep);
        let topology = Arc::new(Topology::new(namespace.clone(), Arc::clone(&publishing)));
        Ok(Arc::new(Self {
            publisher: Publisher::start(Arc::clone(&publishing), Arc::clone(&topology)),
            consumers: Consumers::new(Arc::clone(&consuming)),
            names: namespace,
            publishing,
            consuming,
            topology,
            meters: PublishMeters::new(KIND),
        }))
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RabbitMq({})", self.publishing.address())
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn declare(&self, queues: &[QueueName]) -> Result<(), BrokerError> {
        self.topology.declare(queues).await
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Confirm> {
        let since = Instant::now();
        let confirms = self.publisher.publish(batch).await;
        self.meters.confirmed(since, &confirms);
        confirms
    }

    async fn consume(&self, source: Source, prefetch: u16) -> Result<Inbox, BrokerError> {
        let consumer = self.consumers.start(&self.names, source, prefetch).await;
        if let Err(BrokerError::Failed { .. }) = consumer {
            // Somebody may have deleted the queue: declared again, it has to be looked at again.
            self.topology.doubt().await;
        }
        consumer
    }

    async fn facts(&self, queue: &QueueName) -> Result<QueueFacts, BrokerError> {
        facts::of_queue(&self.consuming, &self.names, queue).await
    }

    async fn unrouted(&self) -> Result<u64, BrokerError> {
        facts::unrouted(&self.consuming, &self.names).await
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    async fn check(&self, queues: &[QueueName]) -> Vec<Finding> {
        facts::check(&self.publishing, &self.topology, queues).await
    }

    async fn close(&self) {
        // An acknowledgement may have been given for what was published: in that order.
        self.publisher.close().await;
        self.consumers.close().await;
        self.publishing.close().await;
        self.consuming.close().await;
    }
}
