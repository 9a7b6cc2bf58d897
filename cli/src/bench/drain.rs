//! Submit no-op jobs in bulk, then work them off.

use std::time::{Duration, Instant};

use anyhow::Result;
use haul_producer::Backend;

use super::{Figure, load::Run};

pub(super) async fn run(backend: Backend, jobs: usize, slots: u32) -> Result<()> {
    let run = Run::new(backend.clone());
    // The queue is there before the clock starts.
    run.submit(1, Duration::ZERO).await?;
    let from = Instant::now();
    run.submit(jobs, Duration::ZERO).await?;
    Figure::new(&backend, "submit", jobs, from.elapsed()).print()?;

    let from = Instant::now();
    let worker = run.work(slots).await?;
    run.started(jobs + 1).await?;
    // Until the last result is recorded and its delivery settled.
    worker.drain();
    worker.finished().await?;
    Figure::new(&backend, "work_off", jobs, from.elapsed()).print()
}
