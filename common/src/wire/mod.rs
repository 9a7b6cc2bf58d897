//! How a job travels: the message contract, the same from any AMQP client.
//!
//! Metadata is in properties and headers; the body is the arguments, as JSON, and nothing else.

mod decode;
mod encode;
pub mod schema;
#[cfg(test)]
mod tests;
pub mod topology;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use decode::{Malformed, decode, salvage};
pub use encode::{dead, encode, reply};

use crate::job::HeaderValue;

/// A message as brokers carry it, free of any client library's types.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// Properties and headers.
    pub head: Head,
    /// The arguments as JSON; anything at all where it comes from outside.
    pub body: Bytes,
}

/// Properties and headers of a [`Message`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// AMQP `type`: the task.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// AMQP `message_id`: the job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// AMQP `correlation_id`: the batch; in an answer, the job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// AMQP `reply_to`: the queue that wants the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// AMQP `content_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// AMQP headers that are scalars; the broker's own (`x-…`) are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// Names of headers that were no scalars, or too many or too large to carry on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_headers: Vec<String>,
}

/// A broker's own header: never ours to send, nor to keep.
pub(crate) fn is_brokers(name: &str) -> bool {
    name.get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-"))
}

/// Names of the headers that mean something to Haul.
pub mod header {
    /// RFC 3339: not before.
    pub const RUN_AT: &str = "run_at";
    /// Milliseconds from arrival: not before. What clients without a clock send.
    pub const DELAY_MS: &str = "delay_ms";
    /// RFC 3339: given up after.
    pub const DEADLINE: &str = "deadline";
    /// How many attempts.
    pub const MAX_ATTEMPTS: &str = "max_attempts";
    /// Milliseconds that an attempt may take.
    pub const TIMEOUT_MS: &str = "timeout_ms";
    /// See [`crate::job::Backoff`].
    pub const BACKOFF: &str = "backoff";
    /// Seconds that the record is kept once the job ended.
    pub const RETENTION_S: &str = "retention_s";
    /// Comma list.
    pub const TAGS: &str = "tags";
    /// Which attempt the message starts; ours.
    pub const ATTEMPT: &str = "attempt";
    /// The message is a guard; ours.
    pub const GUARD: &str = "guard";
    /// The job's fence when the message was published; ours.
    pub const FENCE: &str = "fence";
    /// The message sends an ended job round again; ours.
    pub const REDRIVE: &str = "redrive";
    /// Comma list of digests that the job had before it was edited; ours.
    pub const EARLIER: &str = "earlier";
    /// Why the job is dead; ours, on dead letters.
    pub const REASON: &str = "reason";
    /// What went wrong; ours, on dead letters and failed answers.
    pub const ERROR: &str = "error";
    /// How the job ended; ours, on answers.
    pub const STATE: &str = "state";
    /// The queue and the lane that a dead letter came from; ours.
    pub const QUEUE: &str = "queue";
    /// See [`QUEUE`].
    pub const LANE: &str = "lane";
}
