//! Makes what the plan says be on the broker.
//!
//! Arguments are the same on every version of the server. What exists with others is reported and
//! left alone. Everything is declared on a throw-away channel, for a refusal closes the channel.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    errors,
    link::Link,
    plan::{Step, base, of_queue, table},
};
use crate::{
    job::{Lane, QueueName},
    ports::BrokerError,
    wire::topology::Namespace,
};

/// How long declaring may take in all.
const DECLARE: Duration = Duration::from_secs(20);
impl Step {
    fn what(&self) -> String {
        match self {
            Self::Exchange { name, .. } => format!("exchange {name}"),
            Self::Queue { name, .. } => format!("queue {name}"),
            Self::Bind {
                queue, exchange, ..
            } => {
                format!("binding of queue {queue} to {exchange}")
            }
            Self::Lead { from, to, .. } => format!("binding of exchange {to} to {from}"),
        }
    }

    async fn apply(&self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange {
                name,
                kind,
                alternate,
            } => declare_exchange(channel, name, kind.clone(), alternate.as_deref()).await,
            Self::Queue { name, arguments } => channel
                .queue_declare(name.as_str().into(), queue_options(false), table(arguments))
                .await
                .map(|_| ()),
            Self::Bind {
                queue,
                exchange,
                key,
            } => {
                let options = QueueBindOptions { nowait: false };
                let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
                let key = key.as_str().into();
                channel
                    .queue_bind(queue, exchange, key, options, FieldTable::default())
                    .await
            }
            Self::Lead { from, to, key } => {
                let options = ExchangeBindOptions { nowait: false };
                let (to, from) = (to.as_str().into(), from.as_str().into());
                let key = key.as_str().into();
                channel
                    .exchange_bind(to, from, key, options, FieldTable::default())
                    .await
            }
        }
    }
}

pub(super) fn queue_options(passive: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        passive,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    }
}

async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    alternate: Option<&str>,
) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    if let Some(alternate) = alternate {
        let value = AMQPValue::LongString(alternate.into());
        arguments.insert("alternate-exchange".into(), value);
    }
    let options = ExchangeDeclareOptions {
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
    };
    channel
        .exchange_declare(name.into(), kind, options, arguments)
        .await
}

/// Makes the topology be, and remembers what is there.
#[derive(Debug)]
pub(super) struct Topology {
    names: Namespace,
    link: Arc<Link>,
    known: Mutex<Known>,
}

/// What was seen to be there, over the connection of one generation: on the next one, the broker
/// may be another, or have lost its disk.
#[derive(Debug, Default)]
struct Known {
    generation: u64,
    base: bool,
    queues: BTreeSet<QueueName>,
    /// Something was missing although the marker is there: look at all of it.
    doubted: bool,
    /// Every queue that was ever declared here.
    wanted: BTreeSet<QueueName>,
}

impl Topology {
    pub(super) fn new(names: Namespace, link: Arc<Link>) -> Self {
        Self {
            names,
            link,
            known: Mutex::new(Known::default()),
        }
    }

    pub(super) fn names(&self) -> &Namespace {
        &self.names
    }

    /// Makes `queues` be, with all that every queue needs.
    pub(super) async fn declare(&self, queues: &[QueueName]) -> Result<(), BrokerError> {
        let mut known = self.known.lock().await;
        self.bring_about(&mut known, queues).await?;
        known.wanted.extend(queues.iter().cloned());
        Ok(())
    }

    /// Makes everything be that this process ever declared: for a new connection.
    pub(super) async fn restore(&self) -> Result<(), BrokerError> {
        let mut known = self.known.lock().await;
        let queues: Vec<_> = known.wanted.iter().cloned().collect();
        if queues.is_empty() {
            return Ok(());
        }
        match self.bring_about(&mut known, &queues).await {
            Err(error) if !error.is_retryable() => {
                // One queue that differs must not hold up what goes to the others.
                tracing::warn!(%error, "not all of the topology could be restored");
                Ok(())
            }
            other => other,
        }
    }

    /// Something is missing that should be there: the next look will be at everything.
    pub(super) async fn doubt(&self) {
        let mut known = self.known.lock().await;
        (known.base, known.doubted) = (false, true);
        known.queues.clear();
    }

    async fn bring_about(
        &self,
        known: &mut Known,
        queues: &[QueueName],
    ) -> Result<(), BrokerError> {
        let generation = self.link.live().await?.generation;
        if known.generation != generation {
            (known.generation, known.base) = (generation, false);
            known.queues.clear();
        }
        let all = async {
            if !known.base {
                if known.doubted || !self.marker_exists().await? {
                    self.run(base(&self.names)).await?;
                }
                (known.base, known.doubted) = (true, false);
            }
            for queue in queues {
                if !known.queues.contains(queue) {
                    self.run(of_queue(&self.names, queue)).await?;
                    known.queues.insert(queue.clone());
                }
            }
            Ok(())
        };
        match timeout(DECLARE, all).await {
            Ok(result) => result,
            Err(_) => Err(errors::overdue(self.link.address(), "the topology")),
        }
    }

    /// Declares all of the base, whether it is there or not, and what is there of these queues, to
    /// find all that differs.
    pub(super) async fn differences(
        &self,
        queues: &[QueueName],
    ) -> Result<Vec<BrokerError>, BrokerError> {
        let all = async {
            let mut steps = base(&self.names);
            for queue in queues {
                let normal = self.names.work_queue(queue, Lane::Normal);
                if self.messages_in(&normal).await?.is_some() {
                    steps.extend(of_queue(&self.names, queue));
                }
            }
            let mut found = Vec::new();
            while let Some((at, error)) = self.first_refused(&steps).await? {
                if errors::is_access_refused(&error) && self.all_exist(&steps).await? {
                    break;
                }
                match errors::of_request(self.link.address(), &steps[at].what(), &error) {
                    differs @ BrokerError::Mismatch { .. } => found.push(differs),
                    other => return Err(other),
                }
                steps.drain(..=at);
            }
            Ok(found)
        };
        match timeout(DECLARE, all).await {
            Ok(result) => result,
            Err(_) => Err(errors::overdue(self.link.address(), "the topology")),
        }
    }

    /// How many messages wait in a queue, and how many consume from it; nothing if there is none.
    pub(super) async fn messages_in(&self, name: &str) -> Result<Option<(u32, u32)>, BrokerError> {
        let (_, channel) = self.link.channel().await?;
        let options = queue_options(true);
        let asked = channel.queue_declare(name.into(), options, FieldTable::default());
        match asked.await {
            Ok(queue) => Ok(Some((queue.message_count(), queue.consumer_count()))),
            Err(error) if errors::is_not_found(&error) => Ok(None),
            Err(error) => Err(errors::of_request(self.link.address(), name, &error)),
        }
    }

    pub(super) async fn marker_exists(&self) -> Result<bool, BrokerError> {
        let (_, channel) = self.link.channel().await?;
        let options = ExchangeDeclareOptions {
            passive: true,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
        };
        let name = self.names.jobs();
        let kind = ExchangeKind::Topic;
        let asked = channel
            .exchange_declare(name.as_str().into(), kind, options, FieldTable::default())
            .await;
        match asked {
            Ok(()) => Ok(true),
            Err(error) if errors::is_not_found(&error) => Ok(false),
            Err(error) => Err(errors::of_request(self.link.address(), &name, &error)),
        }
    }

    /// Pipelined: the broker works through a channel in order, so nothing overtakes what it needs.
    async fn run(&self, steps: Vec<Step>) -> Result<(), BrokerError> {
        let Some((at, error)) = self.first_refused(&steps).await? else {
            return Ok(());
        };
        if errors::is_access_refused(&error) && self.all_exist(&steps).await? {
            return Ok(());
        }
        Err(errors::of_request(
            self.link.address(),
            &steps[at].what(),
            &error,
        ))
    }

    async fn first_refused(
        &self,
        steps: &[Step],
    ) -> Result<Option<(usize, lapin::Error)>, BrokerError> {
        let (_, channel) = self.link.channel().await?;
        let results = join_all(steps.iter().map(|step| step.apply(&channel))).await;
        // After a refusal everything behind it fails too; the first is the one that matters.
        let mut results = results.into_iter().enumerate();
        Ok(results.find_map(|(at, result)| Some((at, result.err()?))))
    }

    /// For users who may publish but not configure: good enough when the queues are there.
    async fn all_exist(&self, steps: &[Step]) -> Result<bool, BrokerError> {
        let (_, channel) = self.link.channel().await?;
        let queues = steps.iter().filter_map(|step| match step {
            Step::Queue { name, .. } => Some(name.as_str()),
            _ => None,
        });
        let looks = queues.map(|name| {
            channel.queue_declare(name.into(), queue_options(true), FieldTable::default())
        });
        Ok(join_all(looks).await.iter().all(Result::is_ok))
    }
}
