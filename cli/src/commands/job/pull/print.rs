//! Prints jobs with a lease each, for programs that come back later.

use std::num::NonZeroU32;

use haul_common::{
    job::{Json, Lane, TaskName},
    protocol::{Leased, Protocol},
    trace,
};
use haul_producer::{JobId, QueueName, Tag};
use haul_worker::lease;
use serde::Serialize;
use tokio::time::Instant;

use super::{PullArgs, nothing};
use crate::{output, session::Session};

/// A job that was taken, as JSON.
#[derive(Debug, Serialize)]
struct LeasedView<'a> {
    id: &'a JobId,
    task: &'a TaskName,
    queue: &'a QueueName,
    lane: Lane,
    args: &'a Json,
    attempt: u32,
    max_attempts: u32,
    tags: &'a [Tag],
    deadline: Option<String>,
    fence: u64,
    /// The trace that it belongs to, for what the program does.
    traceparent: Option<String>,
    lease: String,
    lease_until: String,
}

pub(super) async fn run(session: &Session, args: &PullArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let protocol = Protocol::new(producer.backend().clone());
    let end = Instant::now() + args.wait.unwrap_or_default();
    for taken in 0..args.max.map_or(1, NonZeroU32::get) {
        let wait = end.saturating_duration_since(Instant::now());
        match lease::take(&protocol, &args.queue, args.lease, wait).await? {
            Some(leased) => output::json(&view(&leased))?,
            None if taken == 0 => return Err(nothing(session, args).await),
            None => break,
        }
    }
    Ok(())
}

fn view(leased: &Leased) -> LeasedView<'_> {
    let (spec, life) = (&leased.assignment.spec, &leased.assignment.life);
    LeasedView {
        id: &spec.id,
        task: &spec.task,
        queue: &spec.queue,
        lane: spec.lane,
        args: &spec.args,
        attempt: life.attempt,
        max_attempts: spec.max_attempts,
        tags: &spec.tags,
        deadline: spec.deadline.map(|time| time.to_string()),
        fence: life.fence.0,
        traceparent: trace::parent(spec),
        lease: leased.token.to_string(),
        lease_until: leased.until.to_string(),
    }
}
