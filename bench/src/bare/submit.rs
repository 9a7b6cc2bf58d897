//! Submit jobs in bulk: while one window is recorded the next is published.

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::Channel;
use uuid::Uuid;

use super::{
    At, Figure, broker,
    load::{Job, Shape},
    store::Store,
};
use crate::span::Span;

const WINDOWS_AT_ONCE: usize = 3;

pub(super) async fn run(at: &At, jobs: usize, shape: &Shape) -> Result<()> {
    let connection = broker::connect(&at.broker).await?;
    broker::declare(&connection, shape.all_queues()).await?;
    let channel = broker::publishing(&connection).await?;
    let store = Store::connect(&at.store).await?;
    let run = Uuid::now_v7();
    // What a first job costs is over before the clock starts.
    submit(
        &channel,
        &store,
        vec![Job::new(shape, run, 0, Duration::ZERO)?],
    )
    .await?;

    let span = Span::start();
    let windows = (0..jobs).step_by(broker::WINDOW).map(|first| {
        (first..jobs.min(first + broker::WINDOW))
            .map(|n| Job::new(shape, run, n, Duration::ZERO))
            .collect::<Result<Vec<_>>>()
    });
    // All are polled by this task alone.
    stream::iter(windows)
        .map(|window| async { submit(&channel, &store, window?).await })
        .buffered(WINDOWS_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Figure::of_span("submit", jobs, &span).print()?;
    channel.close(200, "done".into()).await?;
    Ok(connection.close(200, "done".into()).await?)
}

/// The message, confirmed; then the record.
pub(super) async fn submit(channel: &Channel, store: &Store, jobs: Vec<Job>) -> Result<()> {
    broker::publish(channel, &jobs).await?;
    store.create(&jobs).await
}
