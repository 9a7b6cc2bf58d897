//! One named constructor for each legal transition.

use super::{Illegal, Life, Step, Stop};
use crate::{
    job::{Attempt, Fence, Json, Outcome, Reason, State, StateKind, WorkerId},
    time::Timestamp,
};

impl Life {
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
            // It began by the store's own clock, and ends by what is known of that here.
            finished: now.max(*began),
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

    /// running → queued: the worker that has it by the record does not run it, for the store lost
    /// how the attempt ended. Had the job been asked to stop, it is cancelled instead.
    ///
    /// # Errors
    /// From any other state.
    pub fn disown(&self, now: Timestamp) -> Result<Step, Illegal> {
        let stop = Stop {
            outcome: Outcome::Released,
            error: Some("the store lost how this attempt ended".to_owned()),
        };
        let state = if self.cancel_requested {
            State::Cancelled { finished: now }
        } else {
            State::Queued
        };
        self.leave_running("disowned", state, stop, now, |_| {})
    }

    fn lost(&self) -> Stop {
        let error = match self.state.worker() {
            Some(holder) if holder.is_lease() => "its lease ran out".to_owned(),
            Some(worker) => format!("worker {worker} vanished"),
            None => String::new(),
        };
        Stop {
            outcome: Outcome::Lost,
            error: Some(error),
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

    /// dead or cancelled → the same, with other arguments. A message that sends the job round again
    /// as it was knows only the older fence, and is dropped.
    ///
    /// # Errors
    /// From any other state: the message of a job that waits carries the arguments it was sent with.
    pub fn edit(&self) -> Result<Step, Illegal> {
        match self.state {
            State::Dead { .. } | State::Cancelled { .. } => {
                Ok(self.step(self.state.clone(), |life| {
                    life.fence = Fence(life.fence.0 + 1);
                }))
            }
            _ => Err(self.illegal("edited")),
        }
    }

    /// any → queued at this attempt: a message proves that the job was edited and sent round again,
    /// and the store has lost that. Nothing where it has not: the record is not behind.
    pub fn catch_up(&self, attempt: u32, fence: Fence) -> Option<Step> {
        (fence > self.fence).then(|| {
            self.step(State::Queued, |life| {
                life.attempt = attempt;
                life.fence = Fence(fence.0 + 1);
                life.crashes = 0;
                life.cancel_requested = false;
            })
        })
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
