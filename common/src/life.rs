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
mod verdict;

use std::time::Duration;

pub use arrival::{Arrival, EARLY_TOLERANCE, Owner, Settle, arrive, settle};
pub use verdict::{Ended, crash_limit_reached, judge};

use crate::{
    job::{Attempt, Fence, Json, Outcome, Reason, Spec, State, StateKind, WorkerId},
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

    /// blocked → queued: its parents succeeded.
    ///
    /// # Errors
    /// From any other state.
    pub fn unblock(&self) -> Result<Step, Illegal> {
        match self.state {
            State::Blocked => Ok(self.step(State::Queued, |_| {})),
            _ => Err(self.illegal("unblocked")),
        }
    }

    /// scheduled or retrying → queued: its time has come.
    ///
    /// # Errors
    /// From any other state.
    pub fn fall_due(&self) -> Result<Step, Illegal> {
        match self.state {
            State::Scheduled { .. } | State::Retrying { .. } => {
                Ok(self.step(State::Queued, |_| {}))
            }
            _ => Err(self.illegal("due")),
        }
    }

    /// queued, or due → running.
    ///
    /// # Errors
    /// From any other state.
    pub fn claim(&self, worker: WorkerId, fence: Fence, now: Timestamp) -> Result<Step, Illegal> {
        if !self.state.kind().is_claimable() {
            return Err(self.illegal("claimed"));
        }
        Ok(self.step(State::Running { worker, began: now }, |life| {
            life.fence = fence;
            life.starts += 1;
            life.cancel_requested = false;
            life.started = life.started.or(Some(now));
        }))
    }

    /// running → queued: the answer to the claim was lost, so that the attempt never began.
    ///
    /// # Errors
    /// From any other state.
    pub fn unclaim(&self) -> Result<Step, Illegal> {
        match self.state {
            State::Running { .. } => Ok(self.step(State::Queued, |_| {})),
            _ => Err(self.illegal("unclaimed")),
        }
    }

    /// running or waiting → queued at a later attempt: a message proves that the ones before it
    /// ended, and the store has lost that.
    ///
    /// # Errors
    /// When it has ended, or `attempt` is not later.
    pub fn fast_forward(&self, attempt: u32) -> Result<Step, Illegal> {
        if self.state.kind().is_terminal() || attempt <= self.attempt {
            return Err(self.illegal("at a later attempt"));
        }
        Ok(self.step(State::Queued, |life| life.attempt = attempt))
    }

    fn end(&self, to: &'static str, stop: Stop, now: Timestamp) -> Result<Attempt, Illegal> {
        let State::Running { worker, began } = &self.state else {
            return Err(self.illegal(to));
        };
        Ok(Attempt {
            number: self.attempt,
            fence: self.fence,
            worker: worker.clone(),
            started: *began,
            finished: now,
            outcome: stop.outcome,
            error: stop.error,
            log: String::new(),
        })
    }

    fn leave_running(
        &self,
        to: &'static str,
        state: State,
        stop: Stop,
        now: Timestamp,
        change: impl FnOnce(&mut Self),
    ) -> Result<Step, Illegal> {
        let error = stop.error.clone();
        let ended = self.end(to, stop, now)?;
        let mut step = self.step(state, |life| {
            if error.is_some() {
                life.error = error;
            }
            change(life);
        });
        step.ended = Some(ended);
        Ok(step)
    }

    /// running → succeeded.
    ///
    /// # Errors
    /// From any other state.
    pub fn succeed(&self, result: Json, now: Timestamp) -> Result<Step, Illegal> {
        let stop = Stop {
            outcome: Outcome::Succeeded,
            error: None,
        };
        let state = State::Succeeded {
            finished: now,
            result,
        };
        self.leave_running("succeeded", state, stop, now, |life| life.error = None)
    }

    /// running → retrying: the next attempt is due at `due`.
    ///
    /// # Errors
    /// From any other state.
    pub fn retry(&self, stop: Stop, due: Timestamp, now: Timestamp) -> Result<Step, Illegal> {
        self.leave_running("retried", State::Retrying { due }, stop, now, |life| {
            life.attempt += 1;
        })
    }

    /// running → retrying at no cost: the same attempt number comes again at `due`.
    ///
    /// # Errors
    /// From any other state.
    pub fn postpone(&self, stop: Stop, due: Timestamp, now: Timestamp) -> Result<Step, Illegal> {
        self.leave_running("postponed", State::Retrying { due }, stop, now, |_| {})
    }

    /// running → queued: the worker stops and gives the attempt back.
    ///
    /// # Errors
    /// From any other state.
    pub fn release(&self, now: Timestamp) -> Result<Step, Illegal> {
        let stop = Stop {
            outcome: Outcome::Released,
            error: None,
        };
        self.leave_running("released", State::Queued, stop, now, |_| {})
    }

    /// running → queued: the worker vanished. The attempt is spent. Had the job been asked to
    /// stop, it is cancelled instead.
    ///
    /// # Errors
    /// From any other state.
    pub fn lose(&self, now: Timestamp) -> Result<Step, Illegal> {
        let state = if self.cancel_requested {
            State::Cancelled { finished: now }
        } else {
            State::Queued
        };
        self.leave_running("lost", state, self.lost(), now, |life| {
            life.attempt += u32::from(!life.state.kind().is_terminal());
            life.crashes += 1;
        })
    }

    fn lost(&self) -> Stop {
        let worker = self
            .state
            .worker()
            .map_or_else(String::new, ToString::to_string);
        Stop {
            outcome: Outcome::Lost,
            error: Some(format!("worker {worker} vanished")),
        }
    }

    /// running → dead: the worker vanished once too often.
    ///
    /// # Errors
    /// From any other state.
    pub fn lose_for_good(&self, now: Timestamp) -> Result<Step, Illegal> {
        let state = State::Dead {
            finished: now,
            reason: Reason::Crashed,
        };
        self.leave_running("lost", state, self.lost(), now, |life| life.crashes += 1)
    }

    /// running → dead.
    ///
    /// # Errors
    /// From any other state.
    pub fn die(&self, reason: Reason, stop: Stop, now: Timestamp) -> Result<Step, Illegal> {
        self.leave_running(
            "dead",
            State::Dead {
                finished: now,
                reason,
            },
            stop,
            now,
            |_| {},
        )
    }

    /// waiting → dead, without an attempt: refused, past its deadline, or a parent failed.
    ///
    /// # Errors
    /// When it runs or has ended.
    pub fn give_up(&self, reason: Reason, error: String, now: Timestamp) -> Result<Step, Illegal> {
        let kind = self.state.kind();
        if kind.is_terminal() || kind == StateKind::Running {
            return Err(self.illegal("dead"));
        }
        Ok(self.step(
            State::Dead {
                finished: now,
                reason,
            },
            |life| life.error = Some(error),
        ))
    }

    /// waiting → cancelled.
    ///
    /// # Errors
    /// When it runs (then [`Life::request_cancel`]) or has ended.
    pub fn cancel(&self, now: Timestamp) -> Result<Step, Illegal> {
        let kind = self.state.kind();
        if kind.is_terminal() || kind == StateKind::Running {
            return Err(self.illegal("cancelled at once"));
        }
        Ok(self.step(State::Cancelled { finished: now }, |_| {}))
    }

    /// running → running, with the wish to stop.
    ///
    /// # Errors
    /// From any other state.
    pub fn request_cancel(&self) -> Result<Step, Illegal> {
        match &self.state {
            State::Running { .. } => {
                Ok(self.step(self.state.clone(), |life| life.cancel_requested = true))
            }
            _ => Err(self.illegal("asked to stop")),
        }
    }

    /// running → cancelled: the attempt stopped, by itself or by force; `how` says which.
    ///
    /// # Errors
    /// From any other state.
    pub fn stop_cancelled(&self, how: String, now: Timestamp) -> Result<Step, Illegal> {
        let stop = Stop {
            outcome: Outcome::Cancelled,
            error: Some(how),
        };
        self.leave_running(
            "cancelled",
            State::Cancelled { finished: now },
            stop,
            now,
            |_| {},
        )
    }

    /// dead or cancelled → queued, with fresh attempts. Fence and count of starts go on.
    ///
    /// # Errors
    /// From any other state.
    pub fn redrive(&self) -> Result<Step, Illegal> {
        match self.state {
            State::Dead { .. } | State::Cancelled { .. } => Ok(self.step(State::Queued, |life| {
                life.attempt = 1;
                // Copies of messages from before know only the older fence.
                life.fence = Fence(life.fence.0 + 1);
                life.crashes = 0;
                life.cancel_requested = false;
            })),
            _ => Err(self.illegal("sent round again")),
        }
    }
}
