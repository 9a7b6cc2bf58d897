//! A broker whose calls go wrong by plan.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;

use super::{Call, Fault, Plan};
use crate::{
    job::QueueName,
    ports::{Broker, BrokerError, Confirm, Finding, Inbox, Publication, QueueFacts, Source},
};

/// A broker whose calls go wrong by plan.
#[derive(Debug)]
pub struct FaultyBroker {
    inner: Arc<dyn Broker>,
    plan: Plan,
}

impl FaultyBroker {
    /// `inner`, with what `plan` says.
    pub fn new(inner: Arc<dyn Broker>, plan: Plan) -> Arc<Self> {
        Arc::new(Self { inner, plan })
    }

    async fn go<T>(
        &self,
        call: Call,
        carry_out: impl Future<Output = Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let fault = self.plan.broker(call).await;
        Fault::befall(fault, carry_out, injected).await
    }
}

fn injected() -> BrokerError {
    BrokerError::Unreachable {
        at: "a faulty broker".to_owned(),
        why: "by plan".to_owned(),
    }
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn declare(&self, queues: &[QueueName]) -> Result<(), BrokerError> {
        self.go(Call::Declare, self.inner.declare(queues)).await
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Confirm> {
        let count = batch.len();
        let all = |confirm| std::iter::repeat_n(confirm, count).collect();
        let fault = self.plan.broker(Call::Publish).await;
        if fault == Some(Fault::Before) {
            return all(Confirm::Refused("by plan".to_owned()));
        }
        let confirms = self.inner.publish(batch).await;
        if fault == Some(Fault::Lost) {
            return all(Confirm::Unknown("by plan".to_owned()));
        }
        confirms
    }

    async fn consume(&self, source: Source, prefetch: u16) -> Result<Inbox, BrokerError> {
        self.go(Call::Consume, self.inner.consume(source, prefetch))
            .await
    }

    async fn facts(&self, queue: &QueueName) -> Result<QueueFacts, BrokerError> {
        self.go(Call::Facts, self.inner.facts(queue)).await
    }

    async fn unrouted(&self) -> Result<u64, BrokerError> {
        self.go(Call::Facts, self.inner.unrouted()).await
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn check(&self, queues: &[QueueName]) -> Vec<Finding> {
        self.inner.check(queues).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
