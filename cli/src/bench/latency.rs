//! Submit at a steady rate; time each job from its submission to its start.

use std::time::{Duration, Instant};

use anyhow::Result;
use haul_producer::Backend;
use haul_worker::{Urls, Worker};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::{
    Figure,
    load::{Run, Shape},
};

const SLOTS: u32 = 16;

pub(super) async fn run(
    backend: Backend,
    urls: Urls,
    rate: u32,
    seconds: u32,
    shape: Shape,
) -> Result<()> {
    let run = Run::new(backend.clone(), shape);
    let worker = run.work(Worker::connect(urls).await?, SLOTS, None).await?;
    worker.ready().await;
    let jobs = (rate * seconds) as usize;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let from = Instant::now();
    let mut submits = JoinSet::new();
    for _ in 0..jobs {
        ticks.tick().await;
        let run = run.clone();
        // On the side: a slow answer must not slow the load down.
        submits.spawn(async move { run.submit(1).await });
    }
    while let Some(submitted) = submits.join_next().await {
        submitted??;
    }
    run.started(jobs).await?;
    let figure = Figure::new(&backend, "latency", jobs, from.elapsed());
    worker.drain();
    worker.finished().await?;
    figure.with_latencies(run.waits()).print()
}
