//! Where a job is in its life, and how its attempts end.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Json, WorkerId};
use crate::time::Timestamp;

/// A number that grows with every claim of a job. A writer with an older one is refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of the next claim: one more than the last, and never less than the store's clock
    /// in microseconds, so that it also grows when the store has lost the last one.
    #[must_use]
    pub fn next(self, clock_micros: u64) -> Self {
        Self(self.0.saturating_add(1).max(clock_micros))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for it in stores, logs, metrics and commands.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(
                        "`{}` is not a {}; it is one of {}",
                        text.chars().take(80).collect::<String>(), $what,
                        [$($word),+].join(", ")
                    )),
                }
            }
        }
    };
}

words!(
    /// A state without the data that belongs to it: what indexes and filters speak of.
    StateKind, "state" {
        /// Waits for its parents.
        Blocked = "blocked",
        /// Waits for its time.
        Scheduled = "scheduled",
        /// Waits for a worker.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// Waits for its next attempt.
        Retrying = "retrying",
        /// Ended well.
        Succeeded = "succeeded",
        /// Given up on, kept for redrive.
        Dead = "dead",
        /// Ended because somebody asked for it.
        Cancelled = "cancelled",
    }
);

words!(
    /// Why a job is dead.
    Reason, "reason" {
        /// Its last attempt failed.
        Exhausted = "exhausted",
        /// A handler said that no retry can help.
        Fatal = "fatal",
        /// Its deadline passed.
        Deadline = "deadline",
        /// Its workers died under it, too often.
        Crashed = "crashed",
        /// Its message, or its arguments, could not be read.
        Malformed = "malformed",
        /// No handler has its task's name.
        UnknownTask = "unknown_task",
        /// A rule of the worker or of the broker refused it.
        Rejected = "rejected",
        /// A job that it depends on did not succeed.
        ParentFailed = "parent_failed",
    }
);

words!(
    /// How an attempt ended.
    Outcome, "outcome" {
        /// The handler returned a result.
        Succeeded = "succeeded",
        /// The handler returned a failure.
        Failed = "failed",
        /// The handler took longer than its time-out.
        TimedOut = "timed_out",
        /// The handler panicked.
        Panicked = "panicked",
        /// The handler was told to stop because the job was cancelled.
        Cancelled = "cancelled",
        /// Given back, unfinished: the worker stops, or what the job waits for is not there yet.
        Released = "released",
        /// The worker vanished.
        Lost = "lost",
    }
);

impl StateKind {
    /// Nothing more happens to the job by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Dead | Self::Cancelled)
    }

    /// A message for the job may start an attempt.
    pub const fn is_claimable(self) -> bool {
        matches!(self, Self::Queued | Self::Scheduled | Self::Retrying)
    }
}

/// Where a job is, with just the data that exists there.
#[derive(Debug, Clone)]
pub enum State {
    /// Waits for its parents.
    Blocked,
    /// Waits until `due`.
    Scheduled {
        /// When it may start.
        due: Timestamp,
    },
    /// Waits for a worker.
    Queued,
    /// `worker` has had it since `began`.
    Running {
        /// Who has it.
        worker: WorkerId,
        /// When this attempt began.
        began: Timestamp,
    },
    /// Waits until `due` for its next attempt.
    Retrying {
        /// When that may start.
        due: Timestamp,
    },
    /// Ended well.
    Succeeded {
        /// When.
        finished: Timestamp,
        /// What the handler returned.
        result: Json,
    },
    /// Given up on.
    Dead {
        /// When.
        finished: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// Ended because somebody asked for it.
    Cancelled {
        /// When.
        finished: Timestamp,
    },
}

impl State {
    /// The state without its data.
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Blocked => StateKind::Blocked,
            Self::Scheduled { .. } => StateKind::Scheduled,
            Self::Queued => StateKind::Queued,
            Self::Running { .. } => StateKind::Running,
            Self::Retrying { .. } => StateKind::Retrying,
            Self::Succeeded { .. } => StateKind::Succeeded,
            Self::Dead { .. } => StateKind::Dead,
            Self::Cancelled { .. } => StateKind::Cancelled,
        }
    }

    /// When a waiting job may start.
    pub const fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Scheduled { due } | Self::Retrying { due } => Some(*due),
            _ => None,
        }
    }

    /// When it ended.
    pub const fn finished(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { finished, .. }
            | Self::Dead { finished, .. }
            | Self::Cancelled { finished } => Some(*finished),
            _ => None,
        }
    }

    /// Who has it.
    pub const fn worker(&self) -> Option<&WorkerId> {
        match self {
            Self::Running { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// Why it is dead.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Dead { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}
