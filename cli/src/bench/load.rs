//! The job that all workloads use, and the worker that runs it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use clap::Args;
use haul_producer::{Backend, JobId, Lane, Producer};
use haul_worker::{Context, Failure, Running, Task, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Records of benchmark jobs are forgotten soon, but not while the next run is measured.
const RETENTION: Duration = Duration::from_secs(600);
/// Jobs of one call: what a caller may well have in memory.
const SLICE: usize = 50_000;
/// What the arguments have without padding, about.
const BARE_BYTES: usize = 88;

/// What the jobs are like, and where they go.
#[derive(Debug, Clone, Args)]
pub(super) struct Shape {
    /// How many bytes of arguments each has, about
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// How many queues they are spread over
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// Which lanes they are spread over
    #[arg(long, value_delimiter = ',', default_value = "normal")]
    lanes: Vec<Lane>,
    /// How many milliseconds each waits on average: from half of it to one and a half, in turn
    #[arg(long, default_value_t = 0)]
    wait_ms: u64,
}

impl Shape {
    /// Small jobs in one queue that wait so long on average.
    pub(super) fn waiting(wait_ms: u64) -> Self {
        Self {
            size: 200,
            queues: 1,
            lanes: vec![Lane::Normal],
            wait_ms,
        }
    }

    /// How long job `n` waits. Were it the same for all, slots would fall into step, and be free all at once.
    fn wait(&self, n: usize) -> u64 {
        self.wait_ms / 2 + n as u64 % (self.wait_ms + 1)
    }

    /// Where job `n` goes.
    fn place(&self, n: usize) -> (String, Lane) {
        let lane = self.lanes[n / self.queues.max(1) % self.lanes.len()];
        (queue(n % self.queues.max(1)), lane)
    }
}

fn queue(n: usize) -> String {
    format!("{}{n}", Load::QUEUE)
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    /// Which run it belongs to.
    run: JobId,
    /// When it was submitted, in microseconds of this process's clock.
    at_us: u64,
    wait_ms: u64,
    padding: String,
}

impl Task for Load {
    const NAME: &'static str = "haul.bench";
    const QUEUE: &'static str = "bench";
    type Output = u64;
}

/// One run of a workload.
#[derive(Debug, Clone)]
pub(super) struct Run {
    id: JobId,
    /// Jobs of other runs count too.
    all: bool,
    clock: Instant,
    producer: Producer,
    shape: Shape,
    waits: Arc<Mutex<Vec<Duration>>>,
    count: Arc<AtomicUsize>,
    started: watch::Sender<usize>,
}

impl Run {
    pub(super) fn new(backend: Backend, shape: Shape) -> Self {
        Self {
            id: JobId::new(),
            all: false,
            clock: Instant::now(),
            producer: Producer::new(backend),
            shape,
            waits: Arc::default(),
            count: Arc::default(),
            started: watch::Sender::new(0),
        }
    }

    /// Counts what others submitted.
    pub(super) fn of_all(backend: Backend, shape: Shape) -> Self {
        Self {
            all: true,
            ..Self::new(backend, shape)
        }
    }

    fn load(&self, n: usize) -> Load {
        let at_us = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        Load {
            run: self.id.clone(),
            at_us,
            wait_ms: self.shape.wait(n),
            padding: ".".repeat(self.shape.size.saturating_sub(BARE_BYTES)),
        }
    }

    /// Submits a job to every queue, so that they are there before a clock starts. Says how many.
    pub(super) async fn prepare(&self) -> Result<usize> {
        self.submit(self.shape.queues).await?;
        Ok(self.shape.queues)
    }

    pub(super) async fn submit(&self, jobs: usize) -> Result<()> {
        for slice in (0..jobs).step_by(SLICE) {
            let all = (slice..jobs.min(slice + SLICE)).map(|n| {
                let (queue, lane) = self.shape.place(n);
                let job = self.producer.submit(self.load(n));
                job.queue(queue.as_str()).lane(lane).retention(RETENTION)
            });
            for answer in self.producer.submit_many(all).await {
                answer?;
            }
        }
        Ok(())
    }

    /// Starts a worker, which has connections of its own, as anywhere.
    pub(super) async fn work(
        &self,
        worker: Worker<()>,
        slots: u32,
        listen: Option<SocketAddr>,
    ) -> Result<Running> {
        let mut worker = worker.state(self.clone());
        for n in 0..self.shape.queues {
            worker = worker.queue(queue(n).as_str(), slots);
        }
        if let Some(at) = listen {
            worker = worker.listen(at);
        }
        Ok(worker.handle(handle).start().await?)
    }

    /// How many jobs have started, of this run or of all.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many jobs of this run have started.
    pub(super) async fn started(&self, jobs: usize) -> Result<()> {
        let mut started = self.started.subscribe();
        let all = started.wait_for(|count| *count >= jobs);
        all.await.map_err(|_| anyhow!("the worker is gone"))?;
        Ok(())
    }

    fn note(&self, load: &Load, count: usize) {
        let since = self.clock.elapsed();
        let waited = since.saturating_sub(Duration::from_micros(load.at_us));
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waited);
        self.started.send_modify(|most| *most = count.max(*most));
    }

    /// From submission to start, for every job so far.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn handle(ctx: Context<Run>, load: Load) -> Result<u64, Failure> {
    let run = ctx.state();
    if run.all || load.run == run.id {
        let count = run.count.fetch_add(1, Ordering::Relaxed) + 1;
        if !run.all {
            run.note(&load, count);
        }
    }
    if load.wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(load.wait_ms)).await;
    }
    Ok(load.at_us)
}
