//! Submit at a steady rate; time each job from its submission to its start.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::{
    At, Figure, broker,
    load::{Job, Shape},
    store::Store,
    submit::submit,
    work::{OnStart, Worker},
};
use crate::span::Span;

const SLOTS: u16 = 16;
/// How long the last one may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(at: &At, rate: u32, seconds: u32, shape: &Shape) -> Result<()> {
    let connection = broker::connect(&at.broker).await?;
    let publishing = broker::connect(&at.broker).await?;
    let channel = broker::publishing(&publishing).await?;
    let store = Store::connect(&at.store).await?;
    let (clock, run, jobs) = (Instant::now(), Uuid::now_v7(), (rate * seconds) as usize);
    let waits = Arc::new(Mutex::new(Vec::with_capacity(jobs)));
    let noted = waits.clone();
    let (all, mut started) = tokio::sync::watch::channel(0);
    let on_start: OnStart = Arc::new(move |load| {
        let waited = clock
            .elapsed()
            .saturating_sub(Duration::from_micros(load.at_us));
        noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waited);
        all.send_modify(|count| *count += 1);
    });
    let worker = Worker::start(&connection, &store, SLOTS, shape, on_start).await?;

    let span = Span::start();
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // The channel belongs to this task, which polls whatever is on its way.
    let mut submits = FuturesUnordered::new();
    let mut sent = 0;
    while sent < jobs || !submits.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if sent < jobs => {
                let job = Job::new(shape, run, sent, clock.elapsed())?;
                submits.push(submit(&channel, &store, vec![job]));
                sent += 1;
            }
            Some(submitted) = submits.next() => submitted?,
        }
    }
    let last = started.wait_for(|count| *count >= jobs);
    let last = tokio::time::timeout(PATIENCE, last).await;
    last.map_err(|_| anyhow!("not all jobs started"))??;
    let mut figure = Figure::of_span("latency", jobs, &span);
    worker.drain().await?;
    channel.close(200, "done".into()).await?;
    let mut waits = waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    waits.sort_unstable();
    let at = |percent: usize| {
        let wait = waits.get(waits.len() * percent / 100);
        wait.map(|wait| wait.as_secs_f64() * 1000.0)
    };
    (figure.p50_ms, figure.p99_ms) = (at(50), at(99));
    figure.print()
}
