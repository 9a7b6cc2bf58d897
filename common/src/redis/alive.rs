//! Which workers live: their heartbeats, and who they are.

use std::time::{Duration, Instant};

use ::redis::Pipeline;

use super::{keys::Keys, link::Link, reply, scripts};
use crate::{
    job::{Fence, JobId, WorkerId},
    ports::{Beat, LOST_FOR, Pulse, StoreError, WorkerInfo},
    time::Timestamp,
};

/// Jobs that one call of the script looks at; the server does nothing else meanwhile.
const BEAT_AT_ONCE: usize = 1000;

/// `listens`: this process listens to the worker's own channel.
pub(super) async fn beat(
    link: &Link,
    keys: &Keys,
    beat: Beat,
    listens: bool,
) -> Result<Pulse, StoreError> {
    let mut pulse = Pulse::default();
    let mut running: &[(JobId, Fence)] = &beat.running;
    // A worker without jobs beats too.
    loop {
        let (now, rest) = running.split_at(running.len().min(BEAT_AT_ONCE));
        let asked = Instant::now();
        let reply = link
            .eval(scripts::beat(keys, &beat.worker, listens, now))
            .await?;
        let (clock, part) = scripts::pulse(now, reply).map_err(|why| link.corrupt(why))?;
        link.set_clock(asked, clock);
        pulse.cancelled.extend(part.cancelled);
        pulse.lost.extend(part.lost);
        pulse.forgotten.extend(part.forgotten);
        pulse.paused = part.paused;
        if rest.is_empty() {
            return Ok(pulse);
        }
        running = rest;
    }
}

pub(super) async fn lease(
    link: &Link,
    keys: &Keys,
    worker: &WorkerId,
    lease: Duration,
    renew: bool,
) -> Result<Option<Timestamp>, StoreError> {
    let reply = link
        .eval(scripts::lease(keys, worker, lease, renew))
        .await?;
    scripts::leased(reply).map_err(|why| link.corrupt(why))
}

pub(super) async fn retire(link: &Link, keys: &Keys, worker: &WorkerId) -> Result<(), StoreError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("DEL").arg(keys.worker(worker));
    pipeline.cmd("ZREM").arg(keys.workers()).arg(&**worker);
    link.query(&pipeline).await.map(drop)
}

pub(super) async fn workers(link: &Link, keys: &Keys) -> Result<Vec<WorkerInfo>, StoreError> {
    let known = lately(link, keys).await?.into_iter().flatten();
    known
        .map(|json| serde_json::from_slice(&json).map_err(|error| link.corrupt(error.to_string())))
        .collect()
}

pub(super) async fn lost(link: &Link, keys: &Keys) -> Result<u64, StoreError> {
    let all = lately(link, keys).await?;
    Ok(all.iter().filter(|worker| worker.is_none()).count() as u64)
}

/// Workers that have beaten lately: what they said, or nothing of those that fell silent.
async fn lately(link: &Link, keys: &Keys) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let since = link.now().as_millis() - i64::try_from(LOST_FOR.as_millis()).unwrap_or(i64::MAX);
    let mut pipeline = Pipeline::with_capacity(1);
    let range = pipeline.cmd("ZRANGEBYSCORE").arg(keys.workers());
    range.arg(since).arg("+inf");
    let ids = link.query(&pipeline).await?.pop().unwrap_or_default();
    pipeline.clear();
    for id in reply::array(ids).map_err(|why| link.corrupt(why))? {
        let id = reply::text(id).and_then(|id| id.parse().map_err(|_| "no worker id".to_owned()));
        let id: WorkerId = id.map_err(|why| link.corrupt(why))?;
        pipeline.cmd("GET").arg(keys.worker(&id));
    }
    let replies = link.query(&pipeline).await?;
    Ok(replies.into_iter().map(reply::bytes).collect())
}
