//! The job that all workloads use, and the worker that runs it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use haul_producer::{Backend, JobId, Producer};
use haul_worker::{Context, Failure, Running, Task, Worker};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Records of benchmark jobs are forgotten soon, but not while the next run is measured.
const RETENTION: Duration = Duration::from_secs(600);
const PADDING: &str = "................................................................................................................";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    /// Which run it belongs to: what an earlier run left behind does not count.
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
    clock: Instant,
    pub(super) producer: Producer,
    waits: Arc<Mutex<Vec<Duration>>>,
    started: watch::Sender<usize>,
}

impl Run {
    pub(super) fn new(backend: Backend) -> Self {
        Self {
            id: JobId::new(),
            clock: Instant::now(),
            producer: Producer::new(backend),
            waits: Arc::default(),
            started: watch::Sender::new(0),
        }
    }

    fn load(&self, wait: Duration) -> Load {
        let at_us = u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Load {
            run: self.id.clone(),
            at_us,
            wait_ms,
            padding: PADDING.to_owned(),
        }
    }

    pub(super) async fn submit(&self, jobs: usize, wait: Duration) -> Result<()> {
        let all = (0..jobs).map(|_| self.producer.submit(self.load(wait)).retention(RETENTION));
        for answer in self.producer.submit_many(all).await {
            answer?;
        }
        Ok(())
    }

    pub(super) async fn work(&self, slots: u32) -> Result<Running> {
        let worker = Worker::new(self.producer.backend().clone())?;
        Ok(worker
            .state(self.clone())
            .queue(Load::QUEUE, slots)
            .handle(handle)
            .start()
            .await?)
    }

    /// Waits until so many jobs of this run have started.
    pub(super) async fn started(&self, jobs: usize) -> Result<()> {
        let mut started = self.started.subscribe();
        let all = started.wait_for(|count| *count >= jobs);
        all.await.map_err(|_| anyhow!("the worker is gone"))?;
        Ok(())
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
    if load.run == run.id {
        let waited = run
            .clock
            .elapsed()
            .saturating_sub(Duration::from_micros(load.at_us));
        run.waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waited);
        run.started.send_modify(|count| *count += 1);
    }
    if load.wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(load.wait_ms)).await;
    }
    Ok(load.at_us)
}
