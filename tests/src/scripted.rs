//! The one task that the tests of a job's life need: it does what its script says.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use haul_common::job::{Failure, JobId, Task};
use haul_worker::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// What one start of a [`Scripted`] job does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Act {
    /// Returns its name.
    Ok,
    /// Returns text of this many bytes.
    Return(usize),
    /// Fails, with this error.
    Fail(String),
    /// Fails for good.
    Fatal,
    /// Fails, to be tried again after so many milliseconds.
    RetryAfter(u64),
    /// Is asked for less, for so many milliseconds.
    Throttle(u64),
    /// Has to wait for something, for so many milliseconds.
    Postpone(u64),
    /// Panics.
    Panic,
    /// Says that it is half done and waits for [`Desk::let_go`], whoever asks it to stop; then
    /// returns its name.
    Hold,
    /// Waits until it is asked to stop, then says that it was cancelled.
    Listen,
    /// Waits until it is asked to stop, then fails.
    Flinch,
    /// Never ends by itself.
    Hang,
    /// Blocks its thread for so many milliseconds, then returns its name.
    Block(u64),
}

/// A job that does at its n-th start what the n-th act says; the last one stands for all others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scripted {
    /// What it is called.
    pub name: String,
    /// What it does.
    pub acts: Vec<Act>,
}

impl Task for Scripted {
    const NAME: &'static str = "test.scripted";
    type Output = String;
}

/// What the handlers of a test share with it.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    said: Mutex<Vec<(JobId, String)>>,
    gate: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self(Arc::new(Inner {
            said: Mutex::default(),
            gate: Semaphore::new(0),
        }))
    }
}

impl Desk {
    fn said(&self) -> MutexGuard<'_, Vec<(JobId, String)>> {
        self.0.said.lock().unwrap()
    }

    /// Notes a start, or anything else that a handler wants its test to know.
    pub fn say(&self, id: &JobId, word: impl Into<String>) {
        self.said().push((id.clone(), word.into()));
    }

    /// What was said about a job, in order.
    pub fn heard(&self, id: &JobId) -> Vec<String> {
        let said = self.said();
        let about = said.iter().filter(|(job, _)| job == id);
        about.map(|(_, word)| word.clone()).collect()
    }

    /// All that was said, in order.
    pub fn all(&self) -> Vec<String> {
        self.said().iter().map(|(_, word)| word.clone()).collect()
    }

    /// How often a job was started.
    pub fn starts(&self, id: &JobId) -> usize {
        self.said().iter().filter(|(job, _)| job == id).count()
    }

    /// Lets `count` holding jobs go on.
    pub fn let_go(&self, count: usize) {
        self.0.gate.add_permits(count);
    }

    /// Waits for [`Desk::let_go`].
    pub async fn hold(&self) {
        self.0.gate.acquire().await.unwrap().forget();
    }
}

/// The handler.
///
/// # Errors
/// As its script says.
///
/// # Panics
/// As its script says.
pub async fn run(ctx: Context<Desk>, job: Scripted) -> Result<String, Failure> {
    let desk = ctx.state().clone();
    let act = job.acts[desk.starts(ctx.id()).min(job.acts.len() - 1)].clone();
    desk.say(ctx.id(), job.name.as_str());
    ctx.log(format!("attempt {} does {act:?}", ctx.attempt()));
    match act {
        Act::Ok => {}
        Act::Return(size) => return Ok("x".repeat(size)),
        Act::Fail(error) => return Err(Failure::retry(error)),
        Act::Fatal => return Err(Failure::fatal("told to")),
        Act::RetryAfter(ms) => {
            return Err(Failure::retry_after(Duration::from_millis(ms), "later"));
        }
        Act::Throttle(ms) => return Err(Failure::throttled(Duration::from_millis(ms), "less")),
        Act::Postpone(ms) => return Err(Failure::postponed(Duration::from_millis(ms), "wait")),
        Act::Panic => panic!("told to"),
        Act::Hold => {
            ctx.progress(1, 2, "half");
            desk.hold().await;
        }
        Act::Listen => {
            ctx.stopped().await;
            return Err(Failure::cancelled());
        }
        Act::Flinch => {
            let cause = ctx.stopped().await;
            return Err(Failure::retry(format!("{cause:?}")));
        }
        Act::Hang => std::future::pending().await,
        Act::Block(ms) => std::thread::sleep(Duration::from_millis(ms)),
    }
    Ok(job.name)
}

/// As [`run`], for a handler that blocks.
///
/// # Errors
/// As its script says.
pub fn run_blocking(ctx: Context<Desk>, job: Scripted) -> Result<String, Failure> {
    tokio::runtime::Handle::current().block_on(run(ctx, job))
}
