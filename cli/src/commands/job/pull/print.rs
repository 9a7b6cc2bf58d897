//! Prints jobs with a lease each, for programs that come back later.

use std::{num::NonZeroU32, time::Duration};

use haul_common::{
    job::{Json, Lane, TaskName, WorkerId},
    ports::{Delivery, Inbox, Source},
    protocol::{Leased, Protocol},
};
use haul_producer::{JobId, QueueName, Tag};
use serde::Serialize;
use tokio::time::Instant;

use super::{PullArgs, nothing};
use crate::{output, session::Session};

/// Between looks at a queue where nothing is ready.
const LOOK: Duration = Duration::from_millis(250);
/// What is ready comes within this long, unless somebody else gets it.
const COMES: Duration = Duration::from_secs(2);
/// Leases that ran out, which are looked for first.
const ORPHANS: usize = 100;

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
    lease: String,
    lease_until: String,
}

pub(super) async fn run(session: &Session, args: &PullArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let protocol = Protocol::new(producer.backend().clone());
    let broker = &producer.backend().broker;
    broker.declare(std::slice::from_ref(&args.queue)).await?;
    // Where no worker heals, a lease that ran out would come back when its guard comes only.
    let me = WorkerId::random();
    protocol.take_orphans(&me, &|_| false, ORPHANS).await?;
    let end = Instant::now() + args.wait.unwrap_or_default();
    for taken in 0..args.max.map_or(1, NonZeroU32::get) {
        let Some(leased) = take(&protocol, &args.queue, args.lease, end).await? else {
            return if taken == 0 {
                Err(nothing(args))
            } else {
                Ok(())
            };
        };
        output::json(&view(&leased))?;
    }
    Ok(())
}

/// The next job that is ready, of the highest lane; nothing when there is none by `end`.
async fn take(
    protocol: &Protocol,
    queue: &QueueName,
    lease: Duration,
    end: Instant,
) -> anyhow::Result<Option<Leased>> {
    loop {
        let facts = protocol.backend().broker.facts(queue).await?;
        let ready = Lane::ALL
            .into_iter()
            .zip(facts.lanes)
            .find(|(_, lane)| lane.ready > 0);
        let Some((lane, _)) = ready else {
            if Instant::now() >= end {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
            continue;
        };
        if let Some(delivery) = next(protocol, queue, lane).await?
            && let Some(leased) = protocol.lease(delivery, lease).await?
        {
            return Ok(Some(leased));
        }
    }
}

async fn next(
    protocol: &Protocol,
    queue: &QueueName,
    lane: Lane,
) -> anyhow::Result<Option<Delivery>> {
    let source = Source::Lane(queue.clone(), lane);
    let Inbox(mut inbox) = protocol.backend().broker.consume(source, 1).await?;
    let next = tokio::time::timeout(COMES, inbox.recv()).await;
    Ok(next.ok().flatten())
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
        lease: leased.token.to_string(),
        lease_until: leased.until.to_string(),
    }
}
