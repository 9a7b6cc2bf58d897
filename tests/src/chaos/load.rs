//! The load: what jobs do, how they are submitted and cancelled, and how far they are.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use haul_common::{
    job::{JobId, Lane, Spec, json},
    protocol::{CancelOutcome, Submission, SubmitError as Why},
};
use haul_producer::{Producer, SubmitError};
use haul_worker::{Context, Failure, StopCause, Task};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::Instant};

use super::ledger::{Entry, Log, Tail, What};

/// The queue of all these jobs.
pub const QUEUE: &str = "default";
/// No job may end by running out of attempts: only the crash limit can.
const ATTEMPTS: u32 = 50;
/// How many are submitted together.
const BATCH: u64 = 100;
/// After a refusal, as a client would.
const REFUSED: Duration = Duration::from_millis(200);

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chore {
    /// Takes a moment.
    Plain {
        /// How long.
        ms: u64,
    },
    /// Fails this often, then succeeds.
    Flaky {
        /// How often.
        fails: u32,
        /// After so long.
        ms: u64,
    },
    /// Is submitted for later.
    Delayed {
        /// How much later.
        ms: u64,
    },
    /// Is cancelled after a while.
    Doomed {
        /// It is submitted for this much later.
        delay_ms: u64,
        /// It is cancelled this long after it was submitted.
        cancel_ms: u64,
        /// It runs this long.
        ms: u64,
    },
    /// Does steps, with a checkpoint after each.
    Steps {
        /// How many.
        count: u32,
        /// How long each takes.
        ms: u64,
    },
    /// Takes so long that a guard stands in.
    Long {
        /// How long.
        ms: u64,
    },
}

impl Task for Chore {
    const NAME: &'static str = "chaos.chore";
    type Output = u64;
}

/// The id of job number `n`.
///
/// # Panics
/// Never: it is a good id.
pub fn id(n: u64) -> JobId {
    format!("c{n:09}").parse().unwrap()
}

/// The number of a job with this id.
pub fn number(id: &str) -> Option<u64> {
    id.strip_prefix('c')?.parse().ok()
}

/// The handler.
///
/// # Errors
/// As the chore says, or when it is to stop.
pub async fn work(ctx: Context<Log>, chore: Chore) -> Result<u64, Failure> {
    let job = number(ctx.id()).ok_or_else(|| Failure::fatal("not a job of this suite"))?;
    let (fence, attempt) = (ctx.fence().0, ctx.attempt());
    let log = |what| ctx.state().write(&[Entry::now(what, job, fence, attempt)]);
    log(What::Start);
    let worked = match chore {
        Chore::Plain { ms } | Chore::Long { ms } | Chore::Doomed { ms, .. } => rest(&ctx, ms).await,
        Chore::Delayed { .. } => Ok(()),
        Chore::Flaky { fails, ms } => fail(&ctx, fails, ms).await,
        Chore::Steps { count, ms } => steps(&ctx, job, count, ms).await,
    };
    if let Err(failure) = worked {
        let stopped = ctx.stop_cause().is_some();
        log(if stopped { What::Stopped } else { What::Failed });
        return Err(failure);
    }
    log(What::Effect);
    log(What::Done);
    Ok(job)
}

async fn rest(ctx: &Context<Log>, ms: u64) -> Result<(), Failure> {
    if ms == 0 {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
        cause = ctx.stopped() => Err(Failure::retry(match cause {
            StopCause::Lost => "lost",
            _ => "told to stop",
        })),
    }
}

async fn fail(ctx: &Context<Log>, fails: u32, ms: u64) -> Result<(), Failure> {
    rest(ctx, ms).await?;
    if ctx.attempt() > fails {
        return Ok(());
    }
    Err(Failure::retry("by plan"))
}

async fn steps(ctx: &Context<Log>, job: u64, count: u32, ms: u64) -> Result<(), Failure> {
    let done: Option<u32> = ctx.checkpoint().await?;
    for step in done.unwrap_or(0)..count {
        rest(ctx, ms).await?;
        ctx.state()
            .write(&[Entry::now(What::Step, job, ctx.fence().0, step)]);
        ctx.save_checkpoint(&(step + 1)).await?;
    }
    Ok(())
}

/// How far the load is: which jobs wait to be done.
#[derive(Debug, Default)]
pub struct Progress {
    pending: Mutex<HashSet<u64>>,
    tails: Mutex<Vec<Tail>>,
}

impl Progress {
    /// Follows one more ledger.
    pub fn follow(&self, ledger: PathBuf) {
        self.tails.lock().unwrap().push(Tail::new(ledger));
    }

    /// Reads what handlers did meanwhile, and says how many accepted jobs are not done.
    pub fn look(&self) -> usize {
        let mut pending = self.pending.lock().unwrap();
        for tail in self.tails.lock().unwrap().iter_mut() {
            let done = |entry: &Entry| entry.what == What::Done;
            for entry in tail.news().unwrap().into_iter().filter(done) {
                pending.remove(&entry.job);
            }
        }
        pending.len()
    }

    /// Those that are not done.
    pub fn pending(&self) -> Vec<u64> {
        self.look();
        self.pending.lock().unwrap().iter().copied().collect()
    }

    /// This one will not be done, or is no longer waited for.
    pub fn forget(&self, job: u64) {
        self.pending.lock().unwrap().remove(&job);
    }
}

/// How much is submitted.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Jobs at most.
    pub jobs: u64,
    /// For at most so long.
    pub time: Duration,
    /// Jobs a second; as many as go through, when nothing.
    pub rate: Option<u64>,
    /// No more than so many are open at a time.
    pub open: usize,
}

/// Submits and cancels; writes down what it was told.
#[derive(Debug, Clone)]
pub struct Submitter {
    /// Its way in.
    pub producer: Producer,
    /// Its log.
    pub log: Arc<Log>,
    /// What is open.
    pub progress: Arc<Progress>,
}

impl Submitter {
    /// Submits until the pace says stop; says how many.
    pub async fn run(&self, chore: impl Fn(u64) -> (Chore, Lane), pace: Pace) -> u64 {
        let began = Instant::now();
        let (doomed, cancels) = mpsc::unbounded_channel();
        let cancelling = tokio::spawn(self.clone().cancel_all(cancels));
        let mut next = 0;
        while next < pace.jobs && began.elapsed() < pace.time {
            let allowed = pace.rate.map_or(u64::MAX, |rate| {
                u64::try_from(began.elapsed().as_millis()).unwrap_or(0) * rate / 1000
            });
            if allowed <= next || self.progress.look() > pace.open {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let until = pace.jobs.min(next + BATCH).min(allowed);
            let batch: Vec<_> = (next..until).map(|n| (n, chore(n))).collect();
            if !self.submit(&batch, &doomed).await {
                tokio::time::sleep(REFUSED).await;
            }
            next = until;
        }
        drop(doomed);
        let _ = cancelling.await;
        next
    }

    /// Says whether all were taken.
    async fn submit(
        &self,
        batch: &[(u64, (Chore, Lane))],
        doomed: &mpsc::UnboundedSender<(u64, Instant)>,
    ) -> bool {
        let now = self.producer.backend().store.now();
        let jobs = batch.iter().map(|(n, (chore, lane))| Submission {
            spec: spec(*n, *chore, *lane),
            due: due(*chore).map(|delay| now + delay),
            chosen_id: false,
        });
        let write = |whats: Vec<(u64, What)>| {
            let entries = whats.into_iter().map(|(n, what)| Entry::now(what, n, 0, 0));
            self.log.write(&entries.collect::<Vec<_>>());
        };
        write(batch.iter().map(|(n, _)| (*n, What::Attempted)).collect());
        // Before the answer: a worker may be quicker.
        let numbers = batch.iter().map(|(n, _)| *n);
        self.progress.pending.lock().unwrap().extend(numbers);
        let answers = self.producer.submit_all(jobs.collect()).await;
        let told: Vec<_> = batch.iter().zip(&answers).collect();
        write(told.iter().map(|((n, _), one)| (*n, answer(one))).collect());
        for ((n, (chore, _)), one) in told {
            match (chore, one) {
                (_, Err(_)) => self.progress.forget(*n),
                (Chore::Doomed { cancel_ms, .. }, Ok(_)) => {
                    let _ = doomed.send((*n, Instant::now() + Duration::from_millis(*cancel_ms)));
                }
                _ => {}
            }
        }
        answers.iter().all(Result::is_ok)
    }

    async fn cancel_all(self, mut doomed: mpsc::UnboundedReceiver<(u64, Instant)>) {
        let cancels = tokio_util::task::TaskTracker::new();
        while let Some((n, at)) = doomed.recv().await {
            let this = self.clone();
            cancels.spawn(async move {
                tokio::time::sleep_until(at).await;
                this.cancel(n).await;
            });
        }
        cancels.close();
        cancels.wait().await;
    }

    async fn cancel(&self, n: u64) {
        self.log.write(&[Entry::now(What::CancelAsked, n, 0, 0)]);
        let what = match self.producer.cancel(&id(n)).await {
            Ok(CancelOutcome::Cancelled) => What::Cancelled,
            _ => What::CancelOpen,
        };
        self.log.write(&[Entry::now(what, n, 0, 0)]);
        self.progress.forget(n);
    }
}

fn answer<T>(answer: &Result<T, SubmitError>) -> What {
    match answer {
        Ok(_) => What::Accepted,
        Err(SubmitError::Protocol(Why::Unknown { .. })) => What::Unknown,
        Err(_) => What::Refused,
    }
}

fn spec(n: u64, chore: Chore, lane: Lane) -> Spec {
    let (task, queue) = (Chore::NAME.parse().unwrap(), QUEUE.parse().unwrap());
    let mut spec = Spec::new(task, queue, json(&chore).unwrap());
    spec.id = id(n);
    spec.lane = lane;
    spec.max_attempts = ATTEMPTS;
    spec.backoff = "exponential(200ms,2,2s)".parse().unwrap();
    spec
}

const fn due(chore: Chore) -> Option<Duration> {
    match chore {
        Chore::Delayed { ms } | Chore::Doomed { delay_ms: ms, .. } => {
            Some(Duration::from_millis(ms))
        }
        _ => None,
    }
}
