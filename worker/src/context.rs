//! What a handler sees of its attempt.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use haul_common::{
    job::{BatchId, Fence, JobId, Progress, QueueName, Spec, Tag, TaskName},
    ports::Saved,
    protocol::{Assignment, Protocol},
    time::Timestamp,
    trace,
};
use tokio::{runtime::Handle, sync::OnceCell};
use tokio_util::sync::CancellationToken;

use crate::notes::{Notes, head};

const MESSAGE_BYTES_MAX: usize = 1000;

/// Why an attempt is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The job was cancelled.
    Cancelled,
    /// The attempt's time-out, or the job's deadline, is over.
    TimedOut,
    /// The worker stops. There is a moment to save a checkpoint; the attempt is given back.
    Stopping,
    /// Another worker has the job: this attempt no longer counts.
    Lost,
}

/// What a handler sees of its attempt, and the application's state.
pub struct Context<S> {
    pub(crate) core: Arc<Core>,
    state: Arc<S>,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            state: self.state.clone(),
        }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("job", self.id())
            .field("attempt", &self.attempt())
            .finish()
    }
}

/// The part of a context that is the same for every application.
pub(crate) struct Core {
    pub(crate) assignment: Assignment,
    pub(crate) notes: Notes,
    pub(crate) protocol: Protocol,
    pub(crate) io: Handle,
    /// What attempts saved; read once, when first asked for.
    pub(crate) saved: OnceCell<Saved>,
    /// Trips once there is a cause.
    token: CancellationToken,
    cause: OnceLock<StopCause>,
}

impl Core {
    pub(crate) fn new(assignment: Assignment, protocol: Protocol, io: Handle) -> Self {
        Self {
            assignment,
            notes: Notes::default(),
            protocol,
            io,
            saved: OnceCell::new(),
            token: CancellationToken::new(),
            cause: OnceLock::new(),
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.assignment.spec
    }

    pub(crate) async fn stopped(&self) -> StopCause {
        self.token.cancelled().await;
        // There is one before the token trips.
        self.stop_cause().unwrap_or(StopCause::Lost)
    }

    /// Why the handler was asked to stop, if it was.
    pub(crate) fn stop_cause(&self) -> Option<StopCause> {
        self.cause.get().copied()
    }

    /// Asks the handler to stop; the first cause stands.
    pub(crate) fn stop(&self, cause: StopCause) {
        let _ = self.cause.set(cause);
        self.token.cancel();
    }
}

impl<S> Context<S> {
    pub(crate) const fn new(core: Arc<Core>, state: Arc<S>) -> Self {
        Self { core, state }
    }

    /// The application's state, as given to [`crate::Worker::state`].
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.core.spec().id
    }

    /// The task's name.
    pub fn task(&self) -> &TaskName {
        &self.core.spec().task
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.core.assignment.life.attempt
    }

    /// How many attempts the job gets.
    pub fn max_attempts(&self) -> u32 {
        self.core.spec().max_attempts
    }

    /// Grows with every claim of this job. A resource that remembers the highest fence it saw can
    /// refuse the late writes of an attempt that lost its job.
    pub fn fence(&self) -> Fence {
        self.core.assignment.life.fence
    }

    /// The trace to continue, as W3C `traceparent`: for what the handler calls. Nothing when the job
    /// belongs to none.
    pub fn traceparent(&self) -> Option<String> {
        trace::parent(self.core.spec())
    }

    /// The same at every attempt of this job, and different for every other job: what to pass to
    /// services that ask for an idempotency key.
    pub fn idempotency_key(&self) -> &str {
        self.id()
    }

    /// The queue it came through.
    pub fn queue(&self) -> &QueueName {
        &self.core.spec().queue
    }

    /// The job's tags.
    pub fn tags(&self) -> &[Tag] {
        &self.core.spec().tags
    }

    /// The batch it belongs to.
    pub fn batch(&self) -> Option<&BatchId> {
        self.core.spec().batch.as_ref()
    }

    /// When the whole job is given up.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.core.spec().deadline
    }

    /// Trips when the attempt is to stop, for whatever [`StopCause`].
    pub fn cancellation(&self) -> CancellationToken {
        // A child: whoever trips it stops nothing but what listens to it.
        self.core.token.child_token()
    }

    /// Waits until the attempt is to stop, and says why.
    pub async fn stopped(&self) -> StopCause {
        self.core.stopped().await
    }

    /// Why the attempt is to stop; nothing while it may go on.
    pub fn stop_cause(&self) -> Option<StopCause> {
        self.core.stop_cause()
    }

    /// Tells how far the attempt is. Cheap: written at most twice a second.
    pub fn progress(&self, done: u64, total: u64, message: impl Into<String>) {
        let mut message = message.into();
        message.truncate(head(&message, MESSAGE_BYTES_MAX).len());
        self.core.notes.progress(Progress {
            done,
            total,
            message,
        });
    }

    /// Adds a line to the attempt's log, whose tail (64 KiB) is kept with it.
    pub fn log(&self, line: impl AsRef<str>) {
        self.core.notes.line(line.as_ref());
    }
}
