//! From a message, whoever sent it, to a job, or to what is wrong with it.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use memchr::memchr2_iter;

use super::{Message, header as h, is_brokers};
use crate::{
    job::{
        BODY_BYTES_MAX, Digest, Envelope, Fence, HeaderValue, JobId, Json, Lane, MAX_ATTEMPTS_MAX,
        QueueName, Spec, Tag, TaskName,
    },
    time::Timestamp,
};

/// Headers that are Haul's own; all others are carried along.
pub(super) const KNOWN: &[&str] = &[
    h::RUN_AT,
    h::DELAY_MS,
    h::DEADLINE,
    h::MAX_ATTEMPTS,
    h::TIMEOUT_MS,
    h::BACKOFF,
    h::RETENTION_S,
    h::TAGS,
    h::ATTEMPT,
    h::GUARD,
    h::FENCE,
    h::REDRIVE,
    h::EARLIER,
    h::REASON,
    h::ERROR,
    h::QUEUE,
    h::LANE,
];
/// Largest fence that is believed: far in the future, being a clock in µs, and far below where the
/// numbers of the store's scripts lose their last digit.
const FENCE_MAX: u64 = 1 << 52;
/// Stores count in milliseconds.
const RETENTION_MAX: Duration = Duration::from_millis(i64::MAX.unsigned_abs());
/// Deepest nesting of arguments, as `serde_json` has it.
const JSON_DEPTH_MAX: usize = 128;

/// A message that is no job: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Malformed {
    /// The property, header or part that is wrong.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(field: &str, why: impl ToString) -> Malformed {
    Malformed {
        field: field.to_owned(),
        why: why.to_string().chars().take(300).collect(),
    }
}

/// Reads a message that came through `queue` and `lane` at `now`.
///
/// # Errors
/// Names the first field that is wrong. `message_id` must be there: a message without one is given
/// one and published again before anything else.
pub fn decode(
    message: &Message,
    origin: (&QueueName, Lane),
    now: Timestamp,
) -> Result<Envelope, Malformed> {
    let head = &message.head;
    let task = name::<TaskName>("type", head.kind.as_deref())?;
    let id = name::<JobId>("message_id", head.message_id.as_deref())?;
    if let Some(header) = head.refused_headers.first() {
        return Err(wrong(
            "headers",
            format!("`{header}` is not a scalar or not UTF-8, too large, or one too many"),
        ));
    }
    let args = args(&message.body)?;
    let mut spec = Spec::of(id, task, origin.0.clone(), args);
    spec.lane = origin.1;
    spec.batch = optional("correlation_id", head.correlation_id.as_deref())?;
    spec.reply_to.clone_from(&head.reply_to);
    let headers = Headers(&head.headers);
    headers.options(&mut spec)?;
    spec.headers = head
        .headers
        .iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()) && !is_brokers(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    spec.validate().map_err(|error| wrong("job", error))?;
    Ok(Envelope {
        due: headers.due(now)?,
        fence: headers.fence()?,
        redrive: headers.0.get(h::REDRIVE) == Some(&HeaderValue::Bool(true)),
        guard: headers.0.get(h::GUARD) == Some(&HeaderValue::Bool(true)),
        attempt: headers.attempt()?,
        spec,
    })
}

/// What can be known of a message that is no job: enough for a record that shows it. The id is
/// the message's if that is one, else new.
pub fn salvage(message: &Message, origin: (&QueueName, Lane)) -> Spec {
    let head = &message.head;
    let kind = head.kind.as_deref().and_then(|text| text.parse().ok());
    let task = kind.unwrap_or_else(TaskName::malformed);
    let args = args(&message.body)
        .unwrap_or_else(|_| Json::from(serde_json::value::RawValue::NULL.to_owned()));
    let mut spec = Spec::new(task, origin.0.clone(), args);
    spec.lane = origin.1;
    if let Some(id) = head
        .message_id
        .as_deref()
        .and_then(|text| text.parse().ok())
    {
        spec.id = id;
    }
    spec.batch = head
        .correlation_id
        .as_deref()
        .and_then(|text| text.parse().ok());
    spec
}

fn name<T: FromStr<Err: ToString>>(field: &str, text: Option<&str>) -> Result<T, Malformed> {
    let text = text.ok_or_else(|| wrong(field, "missing"))?;
    text.parse()
        .map_err(|error: T::Err| wrong(field, error.to_string()))
}

fn optional<T: FromStr<Err: ToString>>(
    field: &str,
    text: Option<&str>,
) -> Result<Option<T>, Malformed> {
    text.map(|text| name(field, Some(text))).transpose()
}

fn args(body: &[u8]) -> Result<Json, Malformed> {
    if body.len() > BODY_BYTES_MAX {
        let why = format!("{} bytes, the limit is {BODY_BYTES_MAX}", body.len());
        return Err(wrong("body", why));
    }
    let text = std::str::from_utf8(body).map_err(|error| wrong("body", error))?;
    // A raw value is checked without recursion, so that its depth has to be limited here: whoever
    // reads it as a tree later would run out of stack, or refuse it.
    if is_deeper(text, JSON_DEPTH_MAX) {
        return Err(wrong(
            "body",
            format!("nested deeper than {JSON_DEPTH_MAX}"),
        ));
    }
    let raw: &serde_json::value::RawValue =
        serde_json::from_str(text).map_err(|error| wrong("body", format!("not JSON: {error}")))?;
    Ok(raw.to_owned())
}

/// Whether brackets nest deeper than `limit`, outside strings.
fn is_deeper(text: &str, limit: usize) -> bool {
    // Most bodies do not have as many at all, and that is much sooner seen than which are in strings.
    if memchr2_iter(b'[', b'{', text.as_bytes())
        .nth(limit)
        .is_none()
    {
        return false;
    }
    let (mut now, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                now += 1;
                if now > limit {
                    return true;
                }
            }
            b']' | b'}' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    false
}

struct Headers<'m>(&'m BTreeMap<String, HeaderValue>);

impl Headers<'_> {
    fn options(&self, spec: &mut Spec) -> Result<(), Malformed> {
        if let Some(attempts) = self.number(h::MAX_ATTEMPTS)? {
            spec.max_attempts =
                u32::try_from(attempts).map_err(|_| wrong(h::MAX_ATTEMPTS, "too large"))?;
        }
        if let Some(text) = self.text(h::BACKOFF)? {
            spec.backoff = text.parse().map_err(|error| wrong(h::BACKOFF, error))?;
        }
        spec.timeout = self.number(h::TIMEOUT_MS)?.map(Duration::from_millis);
        spec.retention = self.number(h::RETENTION_S)?.map(Duration::from_secs);
        if spec.retention > Some(RETENTION_MAX) {
            return Err(wrong(h::RETENTION_S, "is longer than time lasts"));
        }
        spec.deadline = self.time(h::DEADLINE)?;
        spec.tags = self.list::<Tag>(h::TAGS)?;
        spec.earlier = self.list::<Digest>(h::EARLIER)?;
        Ok(())
    }

    fn list<T: FromStr<Err: ToString>>(&self, header: &str) -> Result<Vec<T>, Malformed> {
        let words = self.text(header)?.unwrap_or_default().split(',');
        words
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| name::<T>(header, Some(word)))
            .collect()
    }

    /// One that a job may come to.
    fn attempt(&self) -> Result<u32, Malformed> {
        let attempt = self.number(h::ATTEMPT)?.unwrap_or(1);
        let small = u32::try_from(attempt).ok();
        small
            .filter(|attempt| (1..=MAX_ATTEMPTS_MAX).contains(attempt))
            .ok_or_else(|| wrong(h::ATTEMPT, format!("must be 1 to {MAX_ATTEMPTS_MAX}")))
    }

    fn fence(&self) -> Result<Fence, Malformed> {
        let fence = self.number(h::FENCE)?.unwrap_or(0);
        if fence > FENCE_MAX {
            return Err(wrong(h::FENCE, "it is no fence of ours"));
        }
        Ok(Fence(fence))
    }

    fn due(&self, now: Timestamp) -> Result<Option<Timestamp>, Malformed> {
        if let Some(at) = self.time(h::RUN_AT)? {
            return Ok(Some(at));
        }
        Ok(self
            .number(h::DELAY_MS)?
            .map(|ms| now + Duration::from_millis(ms)))
    }

    /// A number that is not negative; as text or float too, for clients that write headers so.
    fn number(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(HeaderValue::Int(number)) => u64::try_from(*number).ok(),
            Some(HeaderValue::Text(text)) => text.parse().ok(),
            // Written without a fraction exactly if it has none; minus zero becomes zero.
            Some(HeaderValue::Float(number)) => (number + 0.0).to_string().parse().ok(),
            Some(HeaderValue::Bool(_)) => None,
        };
        // Larger ones cannot be sent on.
        let number = number.filter(|number| i64::try_from(*number).is_ok());
        number
            .map(Some)
            .ok_or_else(|| wrong(name, "must be a whole number that is not negative"))
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Malformed> {
        match self.0.get(name) {
            None => Ok(None),
            Some(HeaderValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "must be text")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Malformed> {
        self.text(name)?
            .map(str::parse)
            .transpose()
            .map_err(|error| wrong(name, error))
    }
}
