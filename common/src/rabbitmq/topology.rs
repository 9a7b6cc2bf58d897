//! What is on the broker: exchanges, queues and bindings, and making them be.
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

use super::{errors, link::Link};
use crate::{
    job::{Lane, QueueName},
    ports::BrokerError,
    wire::topology::{DELAY_LEVELS, DELAY_UNIT, Namespace, lane_key},
};

/// How long declaring may take in all.
const DECLARE: Duration = Duration::from_secs(20);
/// How often the broker delivers a job before it gives up on it. A backstop against a job that
/// kills its worker before the worker can count: 4.x would take 20, counting graceful stops.
const DELIVERY_LIMIT: i64 = 100;
/// For queues from which nothing may ever be dropped: 4.x would take 20, and then drop. There is
/// no word for "never" that every version knows.
const DELIVERY_LIMIT_NEVER: i64 = 1_000_000_000;

/// One thing to declare.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Exchange {
        name: String,
        kind: ExchangeKind,
        alternate: Option<String>,
    },
    Queue {
        name: String,
        arguments: Vec<(&'static str, Argument)>,
    },
    Bind {
        queue: String,
        exchange: String,
        key: String,
    },
    /// From one exchange to another.
    Lead {
        from: String,
        to: String,
        key: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Argument {
    Text(String),
    Number(i64),
}

fn text(value: impl Into<String>) -> Argument {
    Argument::Text(value.into())
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert((*name).into(), value);
    }
    table
}

fn exchange(name: String, kind: ExchangeKind, alternate: Option<String>) -> Step {
    Step::Exchange {
        name,
        kind,
        alternate,
    }
}

/// Arguments of a queue from which messages move on by the broker's hand, losing none.
fn moving_on(to: String) -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(to)),
        ("x-dead-letter-strategy", text("at-least-once")),
        // Any other overflow behaviour silently makes that strategy "at most once".
        ("x-overflow", text("reject-publish")),
    ]
}

/// Arguments of a queue where messages stay until somebody decides.
fn staying() -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT_NEVER)),
    ]
}

/// What every queue needs. The jobs exchange is last: who sees it knows that all else is there.
pub(super) fn base(names: &Namespace) -> Vec<Step> {
    let unrouted = names.unrouted();
    let alternate = || Some(names.unrouted());
    let mut steps = vec![
        exchange(unrouted.clone(), ExchangeKind::Fanout, None),
        Step::Queue {
            name: unrouted.clone(),
            arguments: staying(),
        },
        Step::Bind {
            queue: unrouted.clone(),
            exchange: unrouted,
            key: String::new(),
        },
        // Without an alternate, a delay towards a name that nobody bound is confirmed, and then
        // sits in its last level, tried again every three minutes.
        exchange(names.due(), ExchangeKind::Topic, alternate()),
        // The broker dead-letters with a key that matches nothing here, so that what it gives up
        // on comes out as unrouted, where a worker makes a proper dead job of it, with a record.
        exchange(names.dead(), ExchangeKind::Direct, alternate()),
    ];
    for level in 0..DELAY_LEVELS {
        steps.extend(delay_level(names, level));
    }
    steps.push(exchange(names.jobs(), ExchangeKind::Topic, alternate()));
    steps
}

/// Level n reads one binary digit of the key: 1 waits 2^n units in its queue, 0 goes straight on.
fn delay_level(names: &Namespace, level: usize) -> Vec<Step> {
    let name = names.delay(level);
    let next = match level {
        0 => names.due(),
        above => names.delay(above - 1),
    };
    let earlier_digits = "*.".repeat(DELAY_LEVELS - 1 - level);
    let unit_ms = i64::try_from(DELAY_UNIT.as_millis()).unwrap_or(i64::MAX);
    let mut arguments = moving_on(next.clone());
    arguments.push(("x-message-ttl", Argument::Number(unit_ms << level)));
    vec![
        exchange(name.clone(), ExchangeKind::Topic, None),
        Step::Queue {
            name: name.clone(),
            arguments,
        },
        Step::Bind {
            queue: name.clone(),
            exchange: name.clone(),
            key: format!("{earlier_digits}1.#"),
        },
        Step::Lead {
            from: name,
            to: next,
            key: format!("{earlier_digits}0.#"),
        },
    ]
}

/// What one queue needs.
pub(super) fn of_queue(names: &Namespace, queue: &QueueName) -> Vec<Step> {
    let dead = names.dead_queue(queue);
    let mut steps = vec![
        Step::Queue {
            name: dead.clone(),
            arguments: staying(),
        },
        Step::Bind {
            queue: dead.clone(),
            exchange: names.dead(),
            key: dead,
        },
    ];
    for lane in Lane::ALL {
        steps.extend(of_lane(names, queue, lane));
    }
    steps
}

fn of_lane(names: &Namespace, queue: &QueueName, lane: Lane) -> Vec<Step> {
    let name = names.work_queue(queue, lane);
    let key = lane_key(queue, lane);
    let mut arguments = moving_on(names.dead());
    arguments.push(("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)));
    arguments.push(("x-dead-letter-routing-key", text(format!("limit.{key}"))));
    let bind = |exchange, key| Step::Bind {
        queue: name.clone(),
        exchange,
        key,
    };
    let mut steps = vec![
        Step::Queue {
            name: name.clone(),
            arguments,
        },
        bind(names.due(), format!("#.{key}")),
        bind(names.jobs(), key),
    ];
    if lane == Lane::Normal {
        steps.push(bind(names.jobs(), queue.to_string()));
    }
    steps
}

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

    /// Declares all of the base, whether it is there or not, to find what differs.
    pub(super) async fn verify(&self) -> Result<(), BrokerError> {
        match timeout(DECLARE, self.run(base(&self.names))).await {
            Ok(result) => result,
            Err(_) => Err(errors::overdue(self.link.address(), "the topology")),
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
        let (_, channel) = self.link.channel().await?;
        let results = join_all(steps.iter().map(|step| step.apply(&channel))).await;
        // After a refusal everything behind it fails too; the first is the one that matters.
        let Some((step, error)) = steps
            .iter()
            .zip(results)
            .find_map(|(step, result)| Some((step, result.err()?)))
        else {
            return Ok(());
        };
        if errors::is_access_refused(&error) && self.all_exist(&steps).await? {
            return Ok(());
        }
        Err(errors::of_request(
            self.link.address(),
            &step.what(),
            &error,
        ))
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
