//! Work off jobs that wait.

use std::time::{Duration, Instant};

use anyhow::Result;
use haul_producer::Backend;

use super::{Figure, load::Run};

pub(super) async fn run(backend: Backend, jobs: usize, slots: u32, wait: Duration) -> Result<()> {
    let run = Run::new(backend.clone());
    run.submit(jobs, wait).await?;
    let from = Instant::now();
    let worker = run.work(slots).await?;
    run.started(jobs).await?;
    worker.drain();
    worker.finished().await?;
    Figure::new(&backend, "io", jobs, from.elapsed()).print()
}
