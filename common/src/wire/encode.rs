//! From a job to its message.

use std::{borrow::Borrow, collections::BTreeMap};

use bytes::Bytes;

use super::{Head, Message, header as h};
use crate::{
    job::{Backoff, Envelope, HeaderValue, MAX_ATTEMPTS_DEFAULT, Spec, State},
    life::Life,
    time::Timestamp,
};

const JSON: &str = "application/json";

fn text(value: impl ToString) -> HeaderValue {
    HeaderValue::Text(value.to_string())
}

fn int(value: impl TryInto<i64>) -> HeaderValue {
    HeaderValue::Int(value.try_into().unwrap_or(i64::MAX))
}

/// The message that carries `envelope`. Defaults are part of the protocol, and left out: headers are
/// a good part of what a message costs the broker.
pub fn encode<S: Borrow<Spec>>(envelope: &Envelope<S>) -> Message {
    let Envelope {
        spec,
        attempt,
        due,
        guard,
        fence,
        redrive,
    } = envelope;
    let spec: &Spec = spec.borrow();
    let mut headers = options(spec);
    if *attempt > 1 {
        headers.insert(h::ATTEMPT.to_owned(), int(*attempt));
    }
    if let Some(due) = due {
        headers.insert(h::RUN_AT.to_owned(), text(due));
    }
    if *guard {
        headers.insert(h::GUARD.to_owned(), HeaderValue::Bool(true));
    }
    if fence.0 > 0 {
        headers.insert(h::FENCE.to_owned(), int(fence.0));
    }
    if *redrive {
        headers.insert(h::REDRIVE.to_owned(), HeaderValue::Bool(true));
    }
    Message {
        head: Head {
            kind: Some(spec.task.to_string()),
            message_id: Some(spec.id.to_string()),
            correlation_id: spec.batch.as_ref().map(ToString::to_string),
            reply_to: spec.reply_to.clone(),
            content_type: Some(JSON.to_owned()),
            headers,
            refused_headers: Vec::new(),
        },
        body: Bytes::copy_from_slice(spec.args.get().as_bytes()),
    }
}

fn options(spec: &Spec) -> BTreeMap<String, HeaderValue> {
    let mut headers = spec.headers.clone();
    let mut put = |name: &str, value| headers.insert(name.to_owned(), value);
    if spec.max_attempts != MAX_ATTEMPTS_DEFAULT {
        put(h::MAX_ATTEMPTS, int(spec.max_attempts));
    }
    if spec.backoff != Backoff::default() {
        put(h::BACKOFF, text(&spec.backoff));
    }
    if let Some(limit) = spec.timeout {
        put(h::TIMEOUT_MS, int(limit.as_millis()));
    }
    if let Some(deadline) = spec.deadline {
        put(h::DEADLINE, text(deadline));
    }
    if let Some(retention) = spec.retention {
        // Rounded up: never forgotten earlier than asked.
        put(h::RETENTION_S, int(retention.as_millis().div_ceil(1000)));
    }
    if !spec.tags.is_empty() {
        let tags: Vec<&str> = spec.tags.iter().map(|tag| &**tag).collect();
        put(h::TAGS, text(tags.join(",")));
    }
    if !spec.earlier.is_empty() {
        let digests: Vec<String> = spec.earlier.iter().map(ToString::to_string).collect();
        put(h::EARLIER, text(digests.join(",")));
    }
    headers
}

/// `message` as a dead letter: as it came, with where it came from and why it is dead.
pub fn dead(mut message: Message, spec: &Spec, life: &Life) -> Message {
    let head = &mut message.head;
    head.message_id = Some(spec.id.to_string());
    head.headers.remove(h::GUARD);
    head.headers.remove(h::REDRIVE);
    head.headers.insert(h::QUEUE.to_owned(), text(&spec.queue));
    head.headers.insert(h::LANE.to_owned(), text(spec.lane));
    head.headers
        .insert(h::ATTEMPT.to_owned(), int(life.attempt));
    if let Some(reason) = life.state.reason() {
        head.headers.insert(h::REASON.to_owned(), text(reason));
    }
    if let Some(error) = &life.error {
        let clipped: String = error.chars().take(1000).collect();
        head.headers.insert(h::ERROR.to_owned(), text(clipped));
    }
    message
}

/// The answer for `reply_to`: the job's end, with its id as correlation id, and its result (or
/// `null`) as body.
pub fn reply(spec: &Spec, life: &Life) -> Message {
    let (body, finished) = match &life.state {
        State::Succeeded { result, finished } => (result.get().to_owned(), Some(*finished)),
        other => ("null".to_owned(), other.finished()),
    };
    let mut headers = BTreeMap::new();
    headers.insert(h::STATE.to_owned(), text(life.state.kind()));
    if let Some(error) = &life.error {
        headers.insert(
            h::ERROR.to_owned(),
            text(error.chars().take(1000).collect::<String>()),
        );
    }
    headers.insert(
        "finished_at".to_owned(),
        text(finished.unwrap_or_else(Timestamp::now)),
    );
    Message {
        head: Head {
            kind: Some(spec.task.to_string()),
            message_id: Some(format!("{}.reply", spec.id).chars().take(64).collect()),
            correlation_id: Some(spec.id.to_string()),
            content_type: Some(JSON.to_owned()),
            headers,
            ..Head::default()
        },
        body: Bytes::from(body),
    }
}
