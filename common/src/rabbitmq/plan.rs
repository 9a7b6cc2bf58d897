//! What is to be on the broker: each thing in the order in which it is declared.

use lapin::{
    ExchangeKind,
    types::{AMQPValue, FieldTable},
};

use crate::{
    job::{Lane, QueueName},
    wire::topology::{DELAY_LEVELS, DELAY_UNIT, Namespace, lane_key},
};

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

pub(super) fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
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
