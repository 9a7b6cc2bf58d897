//! What follows from the end of an attempt.

use std::time::Duration;

use super::{CRASH_LIMIT, Illegal, Life, Step, Stop};
use crate::{
    job::{Failure, FailureKind, Json, Outcome, Reason, Spec},
    time::Timestamp,
};

/// Longest error that is kept, in bytes: each attempt has one, and every list may show it.
pub(super) const ERROR_BYTES_MAX: usize = 16 * 1024;
const CUT: &str = " … (cut)";

/// How an attempt ended, as its worker saw it.
#[derive(Debug, Clone)]
pub enum Ended {
    /// The handler returned a result.
    Succeeded(Json),
    /// The handler returned a failure.
    Failed(Failure),
    /// The handler took longer than the job's time-out.
    TimedOut(Duration),
    /// The job's deadline passed while the handler ran.
    DeadlinePassed,
    /// The handler panicked, with this message.
    Panicked(String),
    /// The handler stopped because the job was cancelled; by force if it did not listen.
    Cancelled {
        /// It had to be aborted.
        forced: bool,
    },
    /// The worker refused to run it, for this reason.
    Refused(Reason, String),
    /// The worker stops and gives the attempt back.
    Released,
}

/// The transition that follows from the end of an attempt. `jitter` is a random number in 0..=1.
///
/// # Errors
/// When the job does not run.
pub fn judge(
    life: &Life,
    spec: &Spec,
    ended: Ended,
    now: Timestamp,
    jitter: f64,
) -> Result<Step, Illegal> {
    let failed = |outcome, error: String| Stop {
        outcome,
        error: Some(clipped(error)),
    };
    match ended {
        Ended::Succeeded(result) => life.succeed(result, now),
        Ended::Released => life.release(now),
        Ended::Cancelled { forced: false } => {
            life.stop_cancelled("the handler stopped when asked".to_owned(), now)
        }
        Ended::Cancelled { forced: true } => life.stop_cancelled(
            "the handler did not stop when asked and was aborted".to_owned(),
            now,
        ),
        Ended::Refused(reason, error) => life.die(reason, failed(Outcome::Failed, error), now),
        Ended::DeadlinePassed => {
            let error = "the job's deadline passed while it ran".to_owned();
            life.die(Reason::Deadline, failed(Outcome::TimedOut, error), now)
        }
        Ended::TimedOut(limit) => {
            let error = format!("timed out after {}", crate::time::show_duration(limit));
            again(
                life,
                spec,
                failed(Outcome::TimedOut, error),
                None,
                now,
                jitter,
            )
        }
        Ended::Panicked(message) => {
            let error = format!("panicked: {message}");
            again(
                life,
                spec,
                failed(Outcome::Panicked, error),
                None,
                now,
                jitter,
            )
        }
        Ended::Failed(failure) => fail(life, spec, &failure, now, jitter),
    }
}

fn fail(
    life: &Life,
    spec: &Spec,
    failure: &Failure,
    now: Timestamp,
    jitter: f64,
) -> Result<Step, Illegal> {
    let stop = Stop {
        outcome: Outcome::Failed,
        error: Some(clipped(failure.message().to_owned())),
    };
    match failure.kind() {
        FailureKind::Retry => again(life, spec, stop, None, now, jitter),
        FailureKind::RetryAfter(wait) => again(life, spec, stop, Some(wait), now, jitter),
        FailureKind::Throttled(wait) => postpone(life, spec, stop, wait, now),
        FailureKind::Postponed(wait) => {
            let outcome = Outcome::Released;
            postpone(life, spec, Stop { outcome, ..stop }, wait, now)
        }
        FailureKind::Fatal => life.die(Reason::Fatal, stop, now),
        // A handler may find out by itself that its job should not go on.
        FailureKind::Cancelled => life.stop_cancelled(clipped(failure.message().to_owned()), now),
    }
}

/// Retries if attempts and time are left, else gives up.
fn again(
    life: &Life,
    spec: &Spec,
    stop: Stop,
    wait: Option<Duration>,
    now: Timestamp,
    jitter: f64,
) -> Result<Step, Illegal> {
    if life.attempt >= spec.max_attempts {
        return life.die(Reason::Exhausted, stop, now);
    }
    let due = now + wait.unwrap_or_else(|| spec.backoff.delay(life.attempt, jitter));
    match too_late(spec, due) {
        None => life.retry(stop, due, now),
        Some(reason) => life.die(reason, stop, now),
    }
}

/// Runs again at no cost, if time is left.
fn postpone(
    life: &Life,
    spec: &Spec,
    stop: Stop,
    wait: Duration,
    now: Timestamp,
) -> Result<Step, Illegal> {
    match too_late(spec, now + wait) {
        None => life.postpone(stop, now + wait, now),
        Some(reason) => life.die(reason, stop, now),
    }
}

fn too_late(spec: &Spec, due: Timestamp) -> Option<Reason> {
    spec.deadline
        .filter(|deadline| due >= *deadline)
        .map(|_| Reason::Deadline)
}

/// Whether losing one more worker ends the job: the crash limit is reached, or this was its last
/// attempt.
pub const fn crash_limit_reached(life: &Life, spec: &Spec) -> bool {
    life.crashes + 1 >= CRASH_LIMIT || life.attempt >= spec.max_attempts
}

/// An error may quote as much as its handler was given: its beginning says what was wrong.
fn clipped(mut error: String) -> String {
    if error.len() > ERROR_BYTES_MAX {
        let mut ends = (0..=ERROR_BYTES_MAX - CUT.len()).rev();
        error.truncate(ends.find(|at| error.is_char_boundary(*at)).unwrap_or(0));
        error.push_str(CUT);
    }
    error
}
