//! Messages to and from the client library's types.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::wash::SUB;
use crate::{
    job::{HeaderValue, Lane, QueueName},
    ports::{Delivery, Settlement, Source},
    time::Timestamp,
    wire::{Head, Message, header, is_brokers, topology::origin_of},
};

/// How many headers are carried on, and how many refused ones are named.
const HEADERS_MAX: usize = 64;
/// Longest name of a header that is carried on, in bytes.
const HEADER_NAME_BYTES_MAX: usize = 128;
/// All text in headers that is carried on, in bytes.
const HEADER_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Headers that must fit into one frame with the other properties, or the broker cuts us off.
const OUTGOING_BYTES_MAX: usize = 64 * 1024;
/// Delivery mode 2: on disk.
const PERSISTENT: u8 = 2;
/// How the key begins with which the broker dead-letters from a lane.
const LIMIT_KEY: &str = "limit.";

/// A text as AMQP's short string.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text)
        .map_err(|_| format!("its {what} has {} bytes; AMQP carries 255", text.len()))
}

/// The properties of a message that is sent; or why AMQP cannot carry them.
pub(super) fn outgoing(head: &Head) -> Result<BasicProperties, String> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(Timestamp::now().as_millis().unsigned_abs() / 1000);
    if let Some(kind) = &head.kind {
        properties = properties.with_type(short("type", kind)?);
    }
    if let Some(id) = &head.message_id {
        properties = properties.with_message_id(short("message id", id)?);
    }
    if let Some(id) = &head.correlation_id {
        properties = properties.with_correlation_id(short("correlation id", id)?);
    }
    if let Some(queue) = &head.reply_to {
        properties = properties.with_reply_to(short("reply_to", queue)?);
    }
    if let Some(kind) = &head.content_type {
        properties = properties.with_content_type(short("content type", kind)?);
    }
    let mut table = FieldTable::default();
    let mut bytes = 0;
    // A broker's own header sent again makes 3.10 drop the message in silence, as a cycle.
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_brokers(name)) {
        bytes += name.len() + text_of(value).map_or(8, str::len);
        table.insert(short("header's name", name)?, amqp_value(value));
    }
    if bytes > OUTGOING_BYTES_MAX {
        return Err(format!(
            "its headers have {bytes} bytes; at most {OUTGOING_BYTES_MAX} fit"
        ));
    }
    Ok(properties.with_headers(table))
}

fn text_of(value: &HeaderValue) -> Option<&str> {
    match value {
        HeaderValue::Text(text) => Some(text),
        HeaderValue::Bool(_) | HeaderValue::Int(_) | HeaderValue::Float(_) => None,
    }
}

fn amqp_value(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::Int(value) => AMQPValue::LongLongInt(*value),
        HeaderValue::Float(value) => AMQPValue::Double(*value),
        HeaderValue::Text(value) => AMQPValue::LongString(value.as_str().into()),
    }
}

/// What came, as the port has it.
pub(super) fn incoming(
    from: lapin::message::Delivery,
    source: &Source,
    settlement: Settlement,
) -> Delivery {
    let head = head(&from.properties);
    let key = from.routing_key.as_str();
    let (origin, given_up) = match source {
        Source::Lane(queue, lane) => ((queue.clone(), *lane), None),
        Source::Unrouted => (
            origin(key, &head),
            given_up(key, from.properties.headers().as_ref()),
        ),
    };
    Delivery {
        origin,
        given_up,
        returned: returned(&from),
        published: published(&from.properties),
        message: Message {
            head,
            body: from.data.into(),
        },
        settlement,
    }
}

/// Quorum queues count, in a header that the first delivery does not have.
fn returned(from: &lapin::message::Delivery) -> u32 {
    let headers = from.properties.headers().as_ref();
    let count = headers.and_then(|table| table.inner().get("x-delivery-count"));
    let count = count.and_then(AMQPValue::as_long_long_int).unwrap_or(0);
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    count.max(from.redelivered.into())
}

/// Whole seconds, as AMQP has it. No clock is so far ahead that what waits would seem overtaken.
fn published(properties: &BasicProperties) -> Option<Timestamp> {
    let seconds = i64::try_from((*properties.timestamp())?).ok()?;
    let at = Timestamp::from_millis(seconds.saturating_mul(1000));
    Some(at.min(Timestamp::now()))
}

fn origin(key: &str, head: &Head) -> (QueueName, Lane) {
    let named = |name| head.headers.get(name).and_then(text_of);
    origin_of(key).unwrap_or_else(|| {
        let queue = named(header::QUEUE).and_then(|text| text.parse().ok());
        let lane = named(header::LANE).and_then(|text| text.parse().ok());
        (
            queue.unwrap_or_else(QueueName::default_queue),
            lane.unwrap_or_default(),
        )
    })
}

/// Properties and headers that came.
pub(super) fn head(properties: &BasicProperties) -> Head {
    let own = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let mut head = Head {
        kind: own(properties.kind()),
        message_id: own(properties.message_id()),
        correlation_id: own(properties.correlation_id()),
        reply_to: own(properties.reply_to()),
        content_type: own(properties.content_type()),
        ..Head::default()
    };
    if head.reply_to.as_deref().is_some_and(is_washed) {
        head.refused_headers.push("reply_to".to_owned());
    }
    if let Some(table) = properties.headers() {
        take_headers(&mut head, table);
    }
    head
}

/// Bytes that are no text were replaced in it. Names check themselves.
fn is_washed(text: &str) -> bool {
    text.bytes().any(|byte| byte == SUB)
}

fn take_headers(head: &mut Head, table: &FieldTable) {
    let mut bytes = 0;
    for (name, value) in table {
        let name = name.as_str();
        if is_brokers(name) {
            continue;
        }
        let fits = name.len() <= HEADER_NAME_BYTES_MAX
            && head.headers.len() < HEADERS_MAX
            && !is_washed(name);
        let taken = header_value(value).filter(|value| {
            bytes += text_of(value).map_or(0, str::len);
            fits && bytes <= HEADER_TEXT_BYTES_MAX
        });
        match taken {
            Some(value) => {
                head.headers.insert(name.to_owned(), value);
            }
            None if head.refused_headers.len() < HEADERS_MAX => {
                let clipped = name.chars().take(HEADER_NAME_BYTES_MAX).collect();
                head.refused_headers.push(clipped);
            }
            None => {}
        }
    }
}

/// A header that is a scalar. Timestamps and decimals are not: no type here would give them back
/// as they were.
fn header_value(value: &AMQPValue) -> Option<HeaderValue> {
    let float = |value: f64| value.is_finite().then_some(HeaderValue::Float(value));
    match value {
        AMQPValue::Boolean(value) => Some(HeaderValue::Bool(*value)),
        AMQPValue::ShortShortInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::ShortShortUInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::ShortInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::ShortUInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::LongInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::LongUInt(value) => Some(HeaderValue::Int((*value).into())),
        AMQPValue::LongLongInt(value) => Some(HeaderValue::Int(*value)),
        AMQPValue::Float(value) => float((*value).into()),
        AMQPValue::Double(value) => float(*value),
        AMQPValue::ShortString(text) => Some(HeaderValue::Text(text.to_string())),
        AMQPValue::LongString(text) => {
            let text = std::str::from_utf8(text.as_bytes()).ok()?;
            Some(HeaderValue::Text(text.to_owned()))
        }
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

/// Why the broker gave up on a message; nothing when it merely found no queue for it.
pub(super) fn given_up(key: &str, headers: Option<&FieldTable>) -> Option<String> {
    let reason = headers.and_then(last_death).unwrap_or_default();
    if reason == "delivery_limit" {
        return Some("delivery limit: it was delivered again and again, never settled".to_owned());
    }
    // Only what the broker itself dead-letters from a lane comes with this key.
    key.starts_with(LIMIT_KEY)
        .then(|| format!("the broker gave up on it: {reason}"))
}

/// Why the broker last dead-lettered it. A job that waited has died of `expired` before, so the
/// newest death counts: 4.x tells it, before it is the first of the list.
fn last_death(headers: &FieldTable) -> Option<String> {
    let text = |table: &FieldTable, name: &str| match table.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let newest = || match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => match deaths.as_slice().first() {
            Some(AMQPValue::FieldTable(death)) => text(death, "reason"),
            _ => None,
        },
        _ => None,
    };
    text(headers, "x-last-death-reason")
        .or_else(newest)
        .or_else(|| text(headers, "x-first-death-reason"))
}
