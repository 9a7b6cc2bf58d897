//! What the arrival of a message means for its job. Pure, like everything here.
//!
//! A message is a vehicle: it carries a worker to the job, and the record says which attempt is
//! next. A message is dropped only when the job has ended. In every other case the job keeps this
//! message, or a confirmed copy of it, so that it is never nowhere.

use std::time::Duration;

use super::{Life, Step, Version, crash_limit_reached};
use crate::{
    job::{Envelope, Reason, Record, State},
    time::Timestamp,
};

/// A message this much too early starts its job all the same: one unit of the delay levels.
pub const EARLY_TOLERANCE: Duration = Duration::from_millis(100);

/// Who runs a running job, as far as the worker that got its message can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The record names this worker, which does not run it: the answer to its claim was lost.
    MeUnaware,
    /// A worker that is alive, maybe this one.
    Alive,
    /// Another worker that seems alive, but that the broker may have taken this message back from.
    Dropped,
    /// A worker that is not.
    Vanished,
}

/// What the arrival of a message means.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Claim the attempt that the record names.
    Claim,
    /// Apply this step, then look again.
    Apply(Box<Step>),
    /// Apply this step, and take over the message's arguments; then look again.
    Edit(Box<Step>),
    /// The job has ended: publish what may be missing (a dead letter), then drop the message.
    Ended,
    /// Come again in a while: it is too early, or a live worker has the job.
    PutOff(Duration),
    /// Keep the message, and look again in a moment: its worker may just have died. Put off, it would
    /// have to come through its lane once more.
    Keep(Duration),
    /// The id belongs to a job of other content.
    Conflict,
}

/// Whether a running job may have been claimed with this message. A message that was published after
/// the claim, as guards are and what others put off, tells nothing of its owner when it comes back.
pub fn is_of_the_claim(envelope: &Envelope, running: &Life) -> bool {
    envelope.fence < running.fence
}

/// Decides what the arrival of `envelope` means for the job of `record`.
pub fn arrive(record: &Record, envelope: &Envelope, owner: Owner, now: Timestamp) -> Arrival {
    let life = &record.life;
    if record.spec.digest() != envelope.spec.digest() {
        return other_arguments(record, envelope, now);
    }
    if life.state.kind().is_terminal() {
        return match life.redrive() {
            // The message itself carries the redrive: it holds even if nobody recorded it.
            Ok(step) if envelope.redrive && envelope.fence == life.fence => {
                Arrival::Apply(Box::new(step))
            }
            _ => Arrival::Ended,
        };
    }
    if envelope.attempt > life.attempt && envelope.fence >= life.fence {
        // A confirmed message proves that the attempts before it ended; the store lost that. An
        // older fence would be a late copy from before a redrive, which proves nothing.
        return apply(life.fast_forward(envelope.attempt));
    }
    match &life.state {
        State::Running { began, .. } => running(record, owner, *began, now),
        State::Blocked => apply(life.unblock()),
        _ if record.spec.deadline.is_some_and(|deadline| deadline <= now) => apply(life.give_up(
            Reason::Deadline,
            "the job's deadline passed".to_owned(),
            now,
        )),
        waiting => match waiting.due().map(|due| due.since(now)) {
            Some(early) if early > EARLY_TOLERANCE => Arrival::PutOff(early),
            _ => Arrival::Claim,
        },
    }
}

/// The arguments may be those from before an edit, or the store lost the edit; else it is another
/// job.
fn other_arguments(record: &Record, envelope: &Envelope, now: Timestamp) -> Arrival {
    let Record { spec, life, .. } = record;
    if envelope.spec.was(spec.digest())
        && let Some(step) = life.catch_up(envelope.attempt, envelope.fence)
    {
        return Arrival::Edit(Box::new(step));
    }
    if !spec.was(envelope.spec.digest()) {
        return Arrival::Conflict;
    }
    if life.state.kind().is_terminal() {
        return Arrival::Ended;
    }
    // What is put off is the job as it is now, so that the message's arguments end here.
    Arrival::PutOff(
        life.state
            .due()
            .map_or(Duration::ZERO, |due| due.since(now)),
    )
}

fn running(record: &Record, owner: Owner, began: Timestamp, now: Timestamp) -> Arrival {
    let life = &record.life;
    match owner {
        Owner::Alive => Arrival::PutOff(patience(now.since(began))),
        Owner::Dropped => Arrival::Keep(LOOK_AGAIN),
        Owner::MeUnaware => apply(life.unclaim()),
        Owner::Vanished if crash_limit_reached(life, &record.spec) => {
            apply(life.lose_for_good(now))
        }
        Owner::Vanished => apply(life.lose(now)),
    }
}

/// A few looks tell whether it only lost a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// How long to leave a copy alone whose job a live worker runs: soon at first, for its worker may
/// just have died, and ever rarer for long jobs.
fn patience(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(PATIENCE_MIN, PATIENCE_MAX)
}

fn apply(step: Result<Step, super::Illegal>) -> Arrival {
    // Every caller has just looked at the state; should it ever be illegal, a later look decides.
    step.map_or(Arrival::PutOff(Duration::from_secs(1)), |step| {
        Arrival::Apply(Box::new(step))
    })
}

/// What to do about the end of an attempt that the store did not accept as it was.
#[derive(Debug, Clone)]
pub enum Settle {
    /// It is written already: only the answer was lost.
    Written,
    /// The job has moved under the attempt, which still counts: write this instead.
    Instead(Box<Step>),
    /// Somebody else has the job, or it has ended: this attempt no longer counts.
    Refused,
}

/// Decides what becomes of `step`, which the store refused because the job is at `stored`.
pub fn settle(step: &Step, stored: &Life) -> Settle {
    if stored.version() == step.life.version() {
        return Settle::Written;
    }
    let from = stored.version();
    if stored.fence < step.life.fence && !stored.state.kind().is_terminal() {
        // The store is behind: it lost its newest writes.
        return Settle::Instead(Box::new(Step {
            from,
            ..step.clone()
        }));
    }
    if from
        == (Version {
            cancel_requested: true,
            ..step.from
        })
    {
        return Settle::Instead(Box::new(heed(step, from)));
    }
    Settle::Refused
}

/// Decides what becomes of an attempt at `running`, whose claim the store has lost: the step that
/// tells the store of it again. Nothing where the job, now at `stored`, has no place for it.
pub fn reassert(running: &Life, stored: &Life) -> Option<Step> {
    if stored.fence >= running.fence || stored.state.kind().is_terminal() {
        return None;
    }
    let mut life = running.clone();
    life.cancel_requested = stored.cancel_requested;
    Some(Step {
        from: stored.version(),
        life,
        ended: None,
    })
}

/// `step`, made before somebody asked the job to stop: an end stands, anything else is cancelled.
fn heed(step: &Step, from: Version) -> Step {
    let mut step = Step {
        from,
        ..step.clone()
    };
    if let (false, Some(ended)) = (step.life.state.kind().is_terminal(), &step.ended) {
        step.life.state = State::Cancelled {
            finished: ended.finished,
        };
    }
    step
}

#[cfg(test)]
mod tests;
