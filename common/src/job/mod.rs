//! The words of Haul: a job, its names, its lane, its states, its record.

mod backoff;
mod failure;
mod lane;
mod names;
mod record;
mod script;
mod spec;
mod state;
mod task;

pub use backoff::{Backoff, BackoffError};
pub use failure::{Failure, FailureKind};
pub use lane::Lane;
pub use names::{BatchId, JobId, NameError, QueueName, ScriptName, Tag, TaskName, WorkerId};
pub use record::{Attempt, Progress, Record};
pub use script::{SCRIPT_BYTES_MAX, SCRIPT_VERSIONS_KEPT, Script, ScriptError, ScriptVersion};
pub use spec::{
    Digest, Envelope, HeaderValue, Json, MAX_ATTEMPTS_DEFAULT, MAX_ATTEMPTS_MAX, Spec, SpecError,
    json,
};
pub use state::{Fence, Outcome, Reason, State, StateKind};
pub use task::Task;

/// Largest body of arguments, and largest result, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Largest checkpoint, and largest result of a step, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;
/// How many attempts a job keeps the history of; the oldest give way.
pub const ATTEMPTS_KEPT: u32 = 100;
