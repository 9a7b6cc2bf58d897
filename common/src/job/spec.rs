//! What is asked for: the part of a job that never changes.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use sha2::{Digest as _, Sha256};

use super::{BODY_BYTES_MAX, Backoff, BatchId, Fence, JobId, Lane, QueueName, Tag, TaskName};
use crate::time::Timestamp;

/// JSON text, kept as it came.
pub type Json = Box<serde_json::value::RawValue>;

/// Any value as [`Json`].
///
/// # Errors
/// When the value cannot be JSON, for example a map whose keys are not text.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Json, serde_json::Error> {
    serde_json::value::to_raw_value(value)
}

/// How many attempts a job gets that asks for none.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 5;
/// Most attempts that a job may ask for.
pub const MAX_ATTEMPTS_MAX: u32 = 1000;
const TAGS_MAX: usize = 32;
const EDITS_MAX: usize = 16;

/// What is asked for: the part of a job that never changes, but for arguments that people mend.
///
/// Kept and sent without what is the default: that is most of it, and each byte costs at every step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Identifies the job for ever.
    pub id: JobId,
    /// Which handler.
    pub task: TaskName,
    /// Which queue.
    pub queue: QueueName,
    /// Which of its lanes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lane: Lane,
    /// The arguments.
    pub args: Json,
    /// How many attempts it gets.
    #[serde(default = "max_attempts", skip_serializing_if = "is_max_attempts")]
    pub max_attempts: u32,
    /// How long to wait between them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub backoff: Backoff,
    /// How long one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_ms")]
    pub timeout: Option<Duration>,
    /// When the whole job is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// How long its record is kept once it ended; by state when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration_ms")]
    pub retention: Option<Duration>,
    /// The jobs it belongs with; AMQP's correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// The AMQP queue that wants the result too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Headers that mean nothing to Haul, trace context included; carried along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// What its digest was before each edit. Messages from then may still be on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Digest>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn max_attempts() -> u32 {
    MAX_ATTEMPTS_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_max_attempts(attempts: &u32) -> bool {
    *attempts == MAX_ATTEMPTS_DEFAULT
}

/// A scalar in the headers of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
}

/// A spec that nobody could run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Arguments over the limit.
    #[error(
        "the arguments are {0} bytes, the limit is {BODY_BYTES_MAX}; store them elsewhere and pass a reference"
    )]
    ArgsTooLarge(usize),
    /// Attempts out of range.
    #[error("{0} attempts were asked for; it must be 1 to {MAX_ATTEMPTS_MAX}")]
    Attempts(u32),
    /// Too many tags.
    #[error("{0} tags were given; the limit is {TAGS_MAX}")]
    Tags(usize),
    /// A time-out of nothing.
    #[error("a time-out of zero would end every attempt before it starts; leave it out for none")]
    ZeroTimeout,
    /// Too many edits.
    #[error("it was edited {EDITS_MAX} times, and that is the limit; submit it anew")]
    Edits,
    /// A header that no broker carries.
    #[error("header `{0}` is not a finite number; leave it out, or write it as text")]
    Header(String),
}

impl Spec {
    /// A job with a new id, in the normal lane, with every default.
    pub fn new(task: TaskName, queue: QueueName, args: Json) -> Self {
        Self::of(JobId::new(), task, queue, args)
    }

    /// The job of this id, in the normal lane, with every default.
    pub fn of(id: JobId, task: TaskName, queue: QueueName, args: Json) -> Self {
        Self {
            id,
            task,
            queue,
            lane: Lane::default(),
            args,
            max_attempts: MAX_ATTEMPTS_DEFAULT,
            backoff: Backoff::default(),
            timeout: None,
            deadline: None,
            retention: None,
            batch: None,
            reply_to: None,
            tags: Vec::new(),
            headers: BTreeMap::new(),
            earlier: Vec::new(),
        }
    }

    /// The same job with other arguments.
    ///
    /// # Errors
    /// When these break a limit.
    pub fn edited(&self, args: Json) -> Result<Self, SpecError> {
        let mut spec = self.clone();
        spec.args = args;
        let (before, now) = (self.digest(), spec.digest());
        spec.earlier.retain(|digest| *digest != now);
        if before != now {
            spec.earlier.push(before);
        }
        spec.validate()?;
        Ok(spec)
    }

    /// Whether this is what it was before an edit.
    pub fn was(&self, digest: Digest) -> bool {
        self.earlier.contains(&digest)
    }

    /// Checks what types alone do not.
    ///
    /// # Errors
    /// Names the first limit that is broken.
    pub fn validate(&self) -> Result<(), SpecError> {
        let size = self.args.get().len();
        if size > BODY_BYTES_MAX {
            return Err(SpecError::ArgsTooLarge(size));
        }
        if !(1..=MAX_ATTEMPTS_MAX).contains(&self.max_attempts) {
            return Err(SpecError::Attempts(self.max_attempts));
        }
        if self.tags.len() > TAGS_MAX {
            return Err(SpecError::Tags(self.tags.len()));
        }
        if self.timeout.is_some_and(|limit| limit.is_zero()) {
            return Err(SpecError::ZeroTimeout);
        }
        if self.earlier.len() > EDITS_MAX {
            return Err(SpecError::Edits);
        }
        let infinite =
            |value: &HeaderValue| matches!(value, HeaderValue::Float(f) if !f.is_finite());
        if let Some((name, _)) = self.headers.iter().find(|(_, value)| infinite(value)) {
            return Err(SpecError::Header(name.clone()));
        }
        Ok(())
    }

    /// What tells two jobs of the same id apart: task and arguments.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.task.as_bytes());
        hash.update([0]);
        hash.update(self.args.get().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Digest(u128::from_be_bytes(short))
    }
}

/// The first 128 bits of SHA-256 over task and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        number
            .map(Self)
            .ok_or_else(|| "a digest is 32 hexadecimal digits".to_owned())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A job on its way to a worker: what a message says.
#[derive(Debug, Clone)]
pub struct Envelope<S = Spec> {
    /// What is asked for.
    pub spec: S,
    /// Which attempt this message starts, from 1.
    pub attempt: u32,
    /// Not before this time.
    pub due: Option<Timestamp>,
    /// Stands in for the acknowledged message of a long attempt.
    pub guard: bool,
    /// The job's fence when this was published: how much of its history the message knows.
    pub fence: Fence,
    /// Sends a job round again that ended with that fence.
    pub redrive: bool,
}

impl<S> Envelope<S> {
    /// The first message of a job.
    pub const fn first(spec: S, due: Option<Timestamp>) -> Self {
        Self {
            spec,
            attempt: 1,
            due,
            guard: false,
            fence: Fence(0),
            redrive: false,
        }
    }
}

/// Every message has several: read as they come, not by trying one kind after the other.
impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar)
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = HeaderValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number or text")
    }

    fn visit_bool<E>(self, value: bool) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<HeaderValue, E> {
        let float = HeaderValue::Float(value as f64);
        Ok(i64::try_from(value).map_or(float, HeaderValue::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Text(value))
    }
}

mod duration_ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::ref_option,
        reason = "serde calls it with a reference to the field"
    )]
    pub(super) fn serialize<S: Serializer>(d: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => to.serialize_u64(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
