//! Submit no-op jobs in bulk, then work them off.

use std::net::SocketAddr;

use anyhow::Result;
use haul_producer::Backend;
use haul_worker::{Urls, Worker};

use super::{
    Figure,
    load::{Run, Shape},
    span::Span,
};

pub(super) async fn run(
    backend: Backend,
    urls: Urls,
    jobs: usize,
    slots: u32,
    shape: Shape,
    listen: Option<SocketAddr>,
) -> Result<()> {
    let run = Run::new(backend.clone(), shape);
    let extra = run.prepare().await?;
    let span = Span::start();
    run.submit(jobs).await?;
    Figure::of_span(&backend, "submit", jobs, &span).print()?;

    let worker = Worker::connect(urls).await?;
    let span = Span::start();
    let worker = run.work(worker, slots, listen).await?;
    run.started(jobs + extra).await?;
    // Until the last result is recorded and its delivery settled.
    worker.drain();
    worker.finished().await?;
    Figure::of_span(&backend, "work_off", jobs, &span).print()
}
