//! Submit no-op jobs in bulk, then work them off.

use std::time::Instant;

use anyhow::Result;
use haul_producer::Backend;

use super::{
    Figure,
    load::{Run, Shape},
};

pub(super) async fn run(backend: Backend, jobs: usize, slots: u32, shape: Shape) -> Result<()> {
    let run = Run::new(backend.clone(), shape);
    let extra = run.prepare().await?;
    let from = Instant::now();
    run.submit(jobs).await?;
    Figure::new(&backend, "submit", jobs, from.elapsed()).print()?;

    let from = Instant::now();
    let worker = run.work(slots).await?;
    run.started(jobs + extra).await?;
    // Until the last result is recorded and its delivery settled.
    worker.drain();
    worker.finished().await?;
    Figure::new(&backend, "work_off", jobs, from.elapsed()).print()
}
