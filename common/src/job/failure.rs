//! What a handler says when it did not succeed.

use std::{fmt, time::Duration};

/// How a failure is to be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Try again by the job's retry policy.
    Retry,
    /// Try again after this long; counts as an attempt.
    RetryAfter(Duration),
    /// Try again after this long, costs no attempt, and the queue slows down: the other side asked
    /// for less.
    Throttled(Duration),
    /// Not done yet, and nobody's fault: run again after this long, costs no attempt, and the queue
    /// goes on.
    Postponed(Duration),
    /// Never try again.
    Fatal,
    /// Stopped because the job was cancelled.
    Cancelled,
}

/// What a handler returns when it did not succeed. Any error becomes one that retries.
///
/// ```
/// use haul_common::job::Failure;
/// fn check(password: &str) -> Result<(), Failure> {
///     if password.is_empty() {
///         return Err(Failure::fatal("no password was given"));
///     }
///     std::fs::read("key")?; // an I/O error retries
///     Ok(())
/// }
/// # let _ = check;
/// ```
#[derive(Debug, Clone)]
pub struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    /// Try again by the job's retry policy.
    pub fn retry(message: impl fmt::Display) -> Self {
        Self {
            kind: FailureKind::Retry,
            message: message.to_string(),
        }
    }

    /// Try again after `wait`; counts as an attempt.
    pub fn retry_after(wait: Duration, message: impl fmt::Display) -> Self {
        Self {
            kind: FailureKind::RetryAfter(wait),
            message: message.to_string(),
        }
    }

    /// The other side asked for less: try again after `wait`, at no cost of an attempt, and slow
    /// the queue down until then.
    pub fn throttled(wait: Duration, message: impl fmt::Display) -> Self {
        Self {
            kind: FailureKind::Throttled(wait),
            message: message.to_string(),
        }
    }

    /// What the job waits for is not there yet, and nothing went wrong: run again after `wait`, at
    /// no cost of an attempt. Only the job's deadline ends this; a handler that can wait for ever
    /// sets a limit of its own.
    pub fn postponed(wait: Duration, message: impl fmt::Display) -> Self {
        Self {
            kind: FailureKind::Postponed(wait),
            message: message.to_string(),
        }
    }

    /// Never try again.
    pub fn fatal(message: impl fmt::Display) -> Self {
        Self {
            kind: FailureKind::Fatal,
            message: message.to_string(),
        }
    }

    /// Stopped because the job was cancelled.
    pub fn cancelled() -> Self {
        Self {
            kind: FailureKind::Cancelled,
            message: "cancelled".to_owned(),
        }
    }

    /// The same, with something more to say.
    #[must_use]
    pub fn and(mut self, more: impl fmt::Display) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// How it is to be followed.
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What went wrong, with its causes.
    pub fn message(&self) -> &str {
        &self.message
    }
}

// `Failure` itself is no `std::error::Error`: that is what lets every error become one by `?`.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self {
            kind: FailureKind::Retry,
            message,
        }
    }
}
