//! Closed sets of words that are labels.

use crate::{
    job::{FailureKind, Reason, StateKind},
    life::Ended,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words!(
    /// What became of a job when an attempt ended.
    Outcome {
        /// It is done.
        Succeeded = "succeeded",
        /// It waits for its next attempt.
        Retried = "retried",
        /// It was put off, at no cost of an attempt.
        Postponed = "postponed",
        /// It was given up.
        Dead = "dead",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It was given back, unfinished.
        Released = "released",
        /// Another worker had it, or nobody could be told how it ended.
        Lost = "lost",
    }
);

words!(
    /// Why an attempt failed.
    FailureReason {
        /// The handler returned an error.
        Error = "error",
        /// The handler said that no retry can help.
        Fatal = "fatal",
        /// The other side asked for less.
        Throttled = "throttled",
        /// It took too long.
        Timeout = "timeout",
        /// The job's deadline passed.
        Deadline = "deadline",
        /// The handler panicked.
        Panic = "panic",
        /// The arguments are not what the task takes.
        Malformed = "malformed",
        /// No handler has the task's name.
        UnknownTask = "unknown_task",
        /// A rule of the worker refused it.
        Rejected = "rejected",
        /// Its worker vanished; counted by the one that found out.
        Lost = "lost",
    }
);

impl Outcome {
    /// What became of a job that is in this state now, and whose attempt was `free`: asked for
    /// no more than to be put off.
    pub const fn of(state: StateKind, free: bool) -> Self {
        match state {
            StateKind::Retrying | StateKind::Scheduled if free => Self::Postponed,
            StateKind::Succeeded => Self::Succeeded,
            StateKind::Dead => Self::Dead,
            StateKind::Cancelled => Self::Cancelled,
            StateKind::Retrying | StateKind::Scheduled => Self::Retried,
            StateKind::Queued | StateKind::Blocked | StateKind::Running => Self::Released,
        }
    }
}

/// Whether an attempt that ended like this asked to be put off, at no cost.
pub const fn is_free(ended: &Ended) -> bool {
    match ended {
        Ended::Failed(failure) => matches!(
            failure.kind(),
            FailureKind::Throttled(_) | FailureKind::Postponed(_)
        ),
        _ => false,
    }
}

impl FailureReason {
    /// Why an attempt failed that ended like this; nothing when it did not.
    pub const fn of(ended: &Ended) -> Option<Self> {
        Some(match ended {
            Ended::Succeeded(_) | Ended::Cancelled { .. } | Ended::Released => return None,
            Ended::TimedOut(_) => Self::Timeout,
            Ended::DeadlinePassed => Self::Deadline,
            Ended::Panicked(_) => Self::Panic,
            Ended::Refused(Reason::UnknownTask, _) => Self::UnknownTask,
            Ended::Refused(Reason::Malformed, _) => Self::Malformed,
            Ended::Refused(..) => Self::Rejected,
            Ended::Failed(failure) => match failure.kind() {
                FailureKind::Retry | FailureKind::RetryAfter(_) => Self::Error,
                FailureKind::Throttled(_) => Self::Throttled,
                FailureKind::Fatal => Self::Fatal,
                FailureKind::Postponed(_) | FailureKind::Cancelled => return None,
            },
        })
    }
}
