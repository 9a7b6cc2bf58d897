//! Runs a handler, and sees to it that it ends.

use std::{any::Any, sync::Arc, time::Duration};

use haul_common::{
    job::{Json, Reason},
    life::Ended,
    ports::{Note, Settlement},
};
use tokio::time::{Instant, error::Elapsed};
use tracing::Instrument;

use super::{ABORT_GRACE, Hub, launch::Started, tenure::Tenure};
use crate::{
    context::{Core, StopCause},
    handler::{Attempt, Stopped},
};

/// How long a handler may take to stop when asked, before it is aborted.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Progress and log are written at most this often.
const NOTE_EVERY: Duration = Duration::from_millis(500);
/// An aborted handler that does not yield is left to itself after this.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// Ends with whoever supervises it: a worker that is dropped leaves nothing running.
type Handler = Started<Result<Json, Stopped>>;
/// What it returned, or its panic; nothing if it was aborted.
type Joined = <Handler as Future>::Output;

/// Runs the handler of `core`'s task to its end. Nothing when the attempt lost its job.
pub(super) async fn run(
    hub: &Hub,
    core: &Arc<Core>,
    claimed: Instant,
    settlement: &mut Option<Settlement>,
) -> Option<Ended> {
    let spec = core.spec();
    let Some(handler) = hub.registry.get(&spec.task) else {
        let why = format!("no handler is registered for task `{}`", spec.task);
        return Some(Ended::Refused(Reason::UnknownTask, why));
    };
    let handler = begin(
        handler(core.clone()),
        core.clone(),
        hub.tenure.clone(),
        claimed,
    );
    let mut handler = hub.launcher.start(handler.in_current_span());
    let limit = Limit::of(core, hub.protocol.backend().store.now());
    let mut guard_at = Some(Instant::now() + hub.guard_after);
    loop {
        // One timer for both: this is on the way of every job.
        let next = guard_at
            .into_iter()
            .chain(limit.map(|limit| limit.at))
            .min();
        tokio::select! {
            biased;
            joined = &mut handler => return match core.stop_cause() {
                // It may have been asked to stop since this last looked.
                Some(cause) => wound_down(Ok(joined), cause, limit),
                None => Some(outcome(joined)),
            },
            cause = core.stopped() => {
                return Box::pin(wind_down(core, handler, cause, limit)).await;
            }
            () = sleep_until(next) => {
                if limit.is_some_and(|limit| limit.at <= Instant::now()) {
                    core.stop(StopCause::TimedOut);
                } else {
                    // Boxed: most attempts are over before.
                    guard_at = Box::pin(guard(hub, core, settlement)).await;
                }
            }
            () = write_notes(core) => {}
        }
    }
}

/// Runs the handler, unless its job may have become somebody else's since it was claimed.
async fn begin(
    handler: Attempt,
    core: Arc<Core>,
    tenure: Arc<Tenure>,
    claimed: Instant,
) -> Result<Json, Stopped> {
    if !tenure.holds(claimed, Instant::now()) {
        core.stop(StopCause::Lost);
        return Err(Stopped::Rejected("its worker was away for too long".into()));
    }
    handler.await
}

/// Lets a guard stand in for the delivery; says when to try again if there is none yet.
async fn guard(hub: &Hub, core: &Core, settlement: &mut Option<Settlement>) -> Option<Instant> {
    let job = &core.spec().id;
    let guard = hub
        .protocol
        .guard(&core.assignment, hub.guard_after, settlement);
    match guard.await {
        Ok(()) => {
            tracing::debug!(%job, "a guard holds its place");
            None
        }
        Err(error) => {
            tracing::warn!(%job, %error, "no guard yet");
            Some(Instant::now() + Duration::from_secs(5))
        }
    }
}

/// When an attempt has to end, and what that is called.
#[derive(Clone, Copy)]
struct Limit {
    at: Instant,
    /// The time-out; nothing when it is the job's deadline.
    timeout: Option<Duration>,
}

impl Limit {
    fn of(core: &Core, now: haul_common::time::Timestamp) -> Option<Self> {
        let spec = core.spec();
        let left = spec.deadline.map(|deadline| deadline.since(now));
        let started = Instant::now();
        match (spec.timeout, left) {
            (Some(timeout), Some(left)) if left < timeout => Some(Self {
                at: started + left,
                timeout: None,
            }),
            (Some(timeout), _) => Some(Self {
                at: started + timeout,
                timeout: Some(timeout),
            }),
            (None, Some(left)) => Some(Self {
                at: started + left,
                timeout: None,
            }),
            (None, None) => None,
        }
    }

    const fn ended(self) -> Ended {
        match self.timeout {
            Some(timeout) => Ended::TimedOut(timeout),
            None => Ended::DeadlinePassed,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the handler has ended by itself, or aborts it after a grace.
async fn wind_down(
    core: &Core,
    mut handler: Handler,
    cause: StopCause,
    limit: Option<Limit>,
) -> Option<Ended> {
    let grace = if cause == StopCause::Stopping {
        ABORT_GRACE
    } else {
        STOP_GRACE
    };
    let joined = tokio::time::timeout(grace, &mut handler).await;
    if joined.is_err() {
        handler.abort();
        if tokio::time::timeout(ABORT_PATIENCE, handler).await.is_err() {
            tracing::warn!(job = %core.spec().id, "its handler does not yield; it is left to itself");
        }
    }
    wound_down(joined, cause, limit)
}

/// The end of a handler that was asked to stop: for that cause, whatever it says about it.
fn wound_down(
    joined: Result<Joined, Elapsed>,
    cause: StopCause,
    limit: Option<Limit>,
) -> Option<Ended> {
    let forced = joined.is_err();
    // A result counts, whenever it comes: the work is done.
    if let Ok(Some(Ok(Ok(result)))) = joined {
        return (cause != StopCause::Lost).then_some(Ended::Succeeded(result));
    }
    match cause {
        StopCause::Cancelled => Some(Ended::Cancelled { forced }),
        StopCause::TimedOut => limit.map(Limit::ended),
        StopCause::Stopping => Some(Ended::Released),
        StopCause::Lost => None,
    }
}

fn outcome(joined: Joined) -> Ended {
    match joined {
        Some(Ok(Ok(result))) => Ended::Succeeded(result),
        Some(Ok(Err(Stopped::Failed(failure)))) => Ended::Failed(failure),
        Some(Ok(Err(Stopped::BadArgs(why)))) => Ended::Refused(Reason::Malformed, why),
        Some(Ok(Err(Stopped::Rejected(why)))) => Ended::Refused(Reason::Rejected, why),
        Some(Err(panic)) => Ended::Panicked(message(&*panic)),
        // Only a runtime that shuts down aborts it: as if the worker stopped.
        None => Ended::Released,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Writes progress and log once there is something new, and then not for a while.
async fn write_notes(core: &Core) {
    core.notes.news().await;
    write(core).await;
    tokio::time::sleep(NOTE_EVERY).await;
}

/// Writes the progress that came since the last time: an attempt ends with its last word.
pub(super) async fn write_last_notes(core: &Core) {
    if core.notes.snapshot().0.is_some() {
        write(core).await;
    }
}

async fn write(core: &Core) {
    let (progress, log) = core.notes.snapshot();
    let note = Note {
        id: core.spec().id.clone(),
        fence: core.assignment.life.fence,
        progress,
        log,
    };
    if let Err(error) = core.protocol.backend().store.note(note).await {
        tracing::debug!(job = %core.spec().id, %error, "progress not written");
    }
}
