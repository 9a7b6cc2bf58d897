//! Names that come from outside, each with its grammar. A value of one of these types is valid.

use std::{fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::faults::{self, Bug};

/// A name that breaks its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}: it must be 1 to {max} characters of {allowed}")]
pub struct NameError {
    what: &'static str,
    given: String,
    max: usize,
    allowed: &'static str,
}

fn check(
    text: &str,
    what: &'static str,
    max: usize,
    allowed: &'static str,
    ok: fn(u8) -> bool,
) -> Result<Arc<str>, NameError> {
    if !text.is_empty() && text.len() <= max && text.bytes().all(ok) {
        return Ok(Arc::from(text));
    }
    let given = text.chars().take(80).collect();
    Err(NameError {
        what,
        given,
        max,
        allowed,
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $what, $max, $allowed, $ok).map(Self)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

const fn id_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}
const fn task_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-')
}
const fn queue_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')
}
const fn tag_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b',' | b'"')
}

name!(
    /// Identifies a job for ever. The same id is the same job, however often it is submitted.
    JobId, "job id", 64, "letters, digits, _ . -", id_byte
);
name!(
    /// Jobs submitted together; also any group id a foreign client sends as correlation id.
    BatchId, "batch id", 64, "letters, digits, _ . -", id_byte
);
name!(
    /// A named kind of work, such as `email.send`.
    TaskName, "task name", 128, "lower-case letters, digits, _ . -", task_byte
);
name!(
    /// A named stream of jobs. No dots: a dot separates the words of an AMQP routing key.
    QueueName, "queue name", 64, "lower-case letters, digits, _ -", queue_byte
);
name!(
    /// A word attached to a job, to find it by.
    Tag, "tag", 64, "printable ASCII without comma and quote", tag_byte
);
name!(
    /// A script that is stored.
    ScriptName, "script name", 64, "letters, digits, _ . -", id_byte
);
name!(
    /// A worker process. Random at every start: a name used again would make a dead worker look
    /// alive.
    WorkerId, "worker id", 64, "letters, digits, _ . -", id_byte
);

/// What the ids of lease holders begin with.
const LEASE: &str = "l-";

impl JobId {
    /// A new id, ordered by time (UUID version 7).
    pub fn new() -> Self {
        Self(Arc::from(uuid::Uuid::now_v7().to_string()))
    }

    /// The id that stands for a hash.
    pub(crate) fn of_hash(hash: &[u8]) -> Self {
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Arc::from(format!("h-{digits}")))
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchId {
    /// A new id, ordered by time (UUID version 7).
    pub fn new() -> Self {
        Self(Arc::from(uuid::Uuid::now_v7().to_string()))
    }
}

impl Default for BatchId {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerId {
    /// The id of this start of a worker: new each time, on whatever host.
    pub fn random() -> Self {
        if faults::planted(Bug::WorkerIdReused) {
            return Self(Arc::from("w-always-the-same"));
        }
        Self(Arc::from(format!("w-{}", uuid::Uuid::now_v7().simple())))
    }

    /// The holder of a lease, whose secret has this hash.
    pub(crate) fn of_lease(hash: &[u8]) -> Self {
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Arc::from(format!("{LEASE}{digits}")))
    }

    /// Whether it stands for a lease: for a program that is no worker of ours.
    pub fn is_lease(&self) -> bool {
        self.starts_with(LEASE)
    }
}

impl TaskName {
    /// Stands for the task of a message that names none.
    pub(crate) fn malformed() -> Self {
        Self(Arc::from("malformed"))
    }
}

impl QueueName {
    /// The queue of jobs that name none: `default`.
    pub fn default_queue() -> Self {
        Self(Arc::from("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_their_grammar_are_refused_with_the_grammar() {
        for wrong in [
            "",
            "has space",
            "a/b",
            "{x}",
            "a:b",
            &"x".repeat(65),
            "naïve",
        ] {
            let error = wrong.parse::<JobId>().unwrap_err().to_string();
            assert!(error.contains("1 to 64 characters"), "{error}");
        }
        assert!(
            "a.b".parse::<QueueName>().is_err(),
            "a dot would split a routing key"
        );
        assert!("Email".parse::<TaskName>().is_err());
        assert!("email.send_v2-x".parse::<TaskName>().is_ok());
        assert!("a,b".parse::<Tag>().is_err(), "tags travel as a comma list");
    }

    #[test]
    fn new_ids_are_ordered_by_time_and_valid() {
        let (first, second) = (JobId::new(), JobId::new());
        assert!(first < second);
        assert!(first.parse::<JobId>().is_ok());
    }
}
