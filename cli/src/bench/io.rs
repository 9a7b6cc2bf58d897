//! Work off jobs that wait.

use std::time::Instant;

use anyhow::Result;
use haul_producer::Backend;
use haul_worker::{Urls, Worker};

use super::{
    Figure,
    load::{Run, Shape},
};

pub(super) async fn run(
    backend: Backend,
    urls: Urls,
    jobs: usize,
    slots: u32,
    wait_ms: u64,
) -> Result<()> {
    let run = Run::new(backend.clone(), Shape::waiting(wait_ms));
    run.submit(jobs).await?;
    let from = Instant::now();
    let worker = run.work(Worker::connect(urls).await?, slots, None).await?;
    run.started(jobs).await?;
    worker.drain();
    worker.finished().await?;
    Figure::new(&backend, "io", jobs, from.elapsed()).print()
}
