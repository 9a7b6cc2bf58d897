//! The life of a job: every transition there is, pure. No I/O; time is an argument.
//!
//! ```text
//!            submit (later)                 due
//!   o ----------------------> scheduled ---------+
//!   | submit                                     v      claim              ok
//!   +-----------------------------------------> queued ---------> running ---------> succeeded
//!   | submit with parents        parents ok      ^  ^             | |
//!   +-------------> blocked ---------------------+  |    release  | | failed, attempts left
//!                                                   +-------------+ v
//!                                                   +--------- retrying
//!   running -- fatal, exhausted, deadline, crash limit -> dead -- redrive -> queued
//!   scheduled, queued, blocked, retrying -- cancel -> cancelled
//!   running -- cancel, honoured or forced -> cancelled
//! ```
//!
//! A store applies a step only if the job is still at the [`Version`] that the step was made from.

mod arrival;
#[cfg(test)]
mod tests;
mod transitions;
mod verdict;

use std::time::Duration;

pub use arrival::{
    Arrival, EARLY_TOLERANCE, Owner, Settle, arrive, is_of_the_claim, reassert, settle,
};
pub use verdict::{Ended, crash_limit_reached, judge};

use crate::{
    job::{Attempt, Fence, Outcome, Reason, Spec, State, StateKind},
    time::Timestamp,
};

/// Lost workers that a job survives; the next one makes it dead. A limit of its own, for a job
/// that kills its worker never gets to fail.
pub const CRASH_LIMIT: u32 = 3;

/// How long the record of a job is kept that succeeded or was cancelled, unless it says.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How long the record of a dead job is kept, unless it says.
pub const RETENTION_DEAD: Duration = Duration::from_secs(7 * 24 * 3600);

/// When the record of a job may be forgotten; nothing before it has ended.
pub fn expires(spec: &Spec, life: &Life) -> Option<Timestamp> {
    let dead = matches!(life.state, State::Dead { .. });
    let standard = if dead { RETENTION_DEAD } else { RETENTION };
    life.state
        .finished()
        .map(|at| at + spec.retention.unwrap_or(standard))
}

/// Where a job is in its life: its state, and the counters that outlive states.
#[derive(Debug, Clone)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// The attempt that runs, comes next, or was last; from 1.
    pub attempt: u32,
    /// The fence of the latest claim; 0 before the first.
    pub fence: Fence,
    /// How often it was claimed.
    pub starts: u32,
    /// How often its worker was lost.
    pub crashes: u32,
    /// Somebody asked the running attempt to stop.
    pub cancel_requested: bool,
    /// When its first attempt began.
    pub started: Option<Timestamp>,
    /// What went wrong last.
    pub error: Option<String>,
}

/// What a compare-and-set compares. Each transition changes at least one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The state.
    pub state: StateKind,
    /// The attempt.
    pub attempt: u32,
    /// The fence.
    pub fence: Fence,
    /// Whether it was asked to stop: an end that does not know of the wish must not undo it.
    pub cancel_requested: bool,
}

/// A transition that was made: what the store is to write, if the job is still at `from`.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where the job was.
    pub from: Version,
    /// Where it is now.
    pub life: Life,
    /// The attempt that this ended, with an empty log.
    pub ended: Option<Attempt>,
}

/// A transition that is not in the diagram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {from} cannot be {to}")]
pub struct Illegal {
    from: StateKind,
    to: &'static str,
}

/// How the running attempt ended without success: its outcome, and what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// What went wrong, in words.
    pub error: Option<String>,
}

impl Life {
    const fn at(state: State) -> Self {
        Self {
            state,
            attempt: 1,
            fence: Fence(0),
            starts: 0,
            crashes: 0,
            cancel_requested: false,
            started: None,
            error: None,
        }
    }

    /// Submitted, to start as soon as it can.
    pub const fn queued() -> Self {
        Self::at(State::Queued)
    }

    /// Submitted, to start at `due`.
    pub const fn scheduled(due: Timestamp) -> Self {
        Self::at(State::Scheduled { due })
    }

    /// Submitted, to start after its parents.
    pub const fn blocked() -> Self {
        Self::at(State::Blocked)
    }

    /// Came as something that cannot be run.
    pub fn stillborn(reason: Reason, error: String, now: Timestamp) -> Self {
        let mut life = Self::at(State::Dead {
            finished: now,
            reason,
        });
        life.error = Some(error);
        life
    }

    /// What a compare-and-set compares.
    pub const fn version(&self) -> Version {
        Version {
            state: self.state.kind(),
            attempt: self.attempt,
            fence: self.fence,
            cancel_requested: self.cancel_requested,
        }
    }

    const fn illegal(&self, to: &'static str) -> Illegal {
        Illegal {
            from: self.state.kind(),
            to,
        }
    }

    fn step(&self, state: State, change: impl FnOnce(&mut Self)) -> Step {
        let mut life = self.clone();
        life.state = state;
        change(&mut life);
        Step {
            from: self.version(),
            life,
            ended: None,
        }
    }
}
