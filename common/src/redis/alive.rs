//! Which workers live, and which running jobs have none.
//!
//! Says yes in doubt. No worker is called dead while the server is away or has just come back,
//! while it has just started, or while its memory is younger than a heartbeat may be old: then
//! live workers may not have had the time to say so.

use std::collections::{HashMap, HashSet};

use ::redis::{Pipeline, Value};

use super::{keys::Keys, link::Link, list, record, reply, scripts};
use crate::{
    job::{Fence, JobId, Record, StateKind, WorkerId},
    ports::{Beat, InHand, Pulse, StoreError, WorkerInfo},
    protocol::WORKER_TTL,
    time::Timestamp,
};

/// Jobs that one call of the script looks at; the server does nothing else meanwhile.
const BEAT_AT_ONCE: usize = 1000;
/// Running jobs of one queue that are looked at together.
const RUNNING_AT_ONCE: usize = 1000;

pub(super) async fn beat(link: &Link, keys: &Keys, beat: Beat) -> Result<Pulse, StoreError> {
    let mut pulse = Pulse::default();
    let mut running: &[(JobId, Fence)] = &beat.running;
    // A worker without jobs beats too.
    loop {
        let (now, rest) = running.split_at(running.len().min(BEAT_AT_ONCE));
        let asked = Timestamp::now();
        let reply = link.eval(scripts::beat(keys, &beat.worker, now)).await?;
        let (clock, part) = scripts::pulse(now, reply).map_err(|why| link.corrupt(why))?;
        link.set_clock(asked, clock);
        pulse.cancelled.extend(part.cancelled);
        pulse.lost.extend(part.lost);
        pulse.forgotten.extend(part.forgotten);
        if rest.is_empty() {
            return Ok(pulse);
        }
        running = rest;
    }
}

pub(super) async fn retire(link: &Link, keys: &Keys, worker: &WorkerId) -> Result<(), StoreError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("DEL").arg(keys.worker(worker));
    pipeline.cmd("ZREM").arg(keys.workers()).arg(&**worker);
    link.query(&pipeline).await.map(drop)
}

pub(super) async fn is_alive(
    link: &Link,
    keys: &Keys,
    worker: &WorkerId,
) -> Result<bool, StoreError> {
    Ok(!dead(link, keys, vec![worker.clone()])
        .await?
        .contains(worker))
}

/// Those of `workers` that are dead beyond doubt.
async fn dead(
    link: &Link,
    keys: &Keys,
    workers: Vec<WorkerId>,
) -> Result<HashSet<WorkerId>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(workers.len() + 3);
    pipeline.cmd("INFO").arg("server");
    pipeline.cmd("TIME");
    pipeline.cmd("GET").arg(keys.since());
    for worker in &workers {
        pipeline.cmd("EXISTS").arg(keys.worker(worker));
    }
    let mut replies = link.query(&pipeline).await?.into_iter();
    let mut next = || replies.next().unwrap_or_default();
    let (info, time, since) = (next(), next(), next());
    let in_doubt = link.is_fresh(WORKER_TTL)
        || is_young(info, time, since).map_err(|why| link.corrupt(why))?;
    if in_doubt {
        return Ok(HashSet::new());
    }
    let silent = workers
        .into_iter()
        .zip(replies)
        .filter(|(_, beats)| *beats == Value::Int(0));
    Ok(silent.map(|(worker, _)| worker).collect())
}

fn is_young(info: Value, time: Value, since: Value) -> Result<bool, reply::Unreadable> {
    let info = reply::text(info)?;
    let up = info
        .lines()
        .find_map(|line| line.strip_prefix("uptime_in_seconds:"));
    let up: u64 = up.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if up <= WORKER_TTL.as_secs() || since == Value::Nil {
        return Ok(true);
    }
    let seconds = reply::array(time)?.into_iter().next().unwrap_or_default();
    let now = Timestamp::from_millis(reply::number::<i64>(seconds)?.saturating_mul(1000));
    Ok(now.since(Timestamp::from_millis(reply::number(since)?)) <= WORKER_TTL)
}

pub(super) async fn workers(link: &Link, keys: &Keys) -> Result<Vec<WorkerInfo>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZRANGE").arg(keys.workers()).arg(0).arg(-1);
    let ids = link.query(&pipeline).await?.pop().unwrap_or_default();
    pipeline.clear();
    for id in reply::array(ids).map_err(|why| link.corrupt(why))? {
        let id = reply::text(id).and_then(|id| id.parse().map_err(|_| "no worker id".to_owned()));
        let id: WorkerId = id.map_err(|why| link.corrupt(why))?;
        pipeline.cmd("GET").arg(keys.worker(&id));
    }
    let replies = link.query(&pipeline).await?;
    let known = replies.into_iter().filter_map(reply::bytes);
    known
        .map(|json| serde_json::from_slice(&json).map_err(|error| link.corrupt(error.to_string())))
        .collect()
}

pub(super) async fn orphans(
    link: &Link,
    keys: &Keys,
    me: &WorkerId,
    in_hand: InHand<'_>,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut orphans = Vec::new();
    if link.is_fresh(WORKER_TTL) {
        return Ok(orphans);
    }
    for queue in list::queues(link, keys).await? {
        let index = keys.index(&queue, StateKind::Running);
        let mut place = 0;
        loop {
            let ids = running(link, &index, place).await?;
            place += ids.len();
            let last = ids.len() < RUNNING_AT_ONCE;
            let mine = |id: &str, worker: &WorkerId| {
                worker == me && id.parse().is_ok_and(|id| !in_hand(&id))
            };
            let ids = without_worker(link, keys, &index, ids, &mine).await?;
            let room = limit.saturating_sub(orphans.len());
            let found = records(link, keys, ids.into_iter().take(room)).await?;
            let runs = |record: &Record| record.life.state.kind() == StateKind::Running;
            orphans.extend(found.into_iter().filter(runs));
            if orphans.len() >= limit {
                return Ok(orphans);
            }
            if last {
                break;
            }
        }
    }
    Ok(orphans)
}

/// Oldest first: those are the likeliest to have been left behind.
async fn running(link: &Link, index: &str, place: usize) -> Result<Vec<String>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline
        .cmd("ZRANGE")
        .arg(index)
        .arg(place)
        .arg(place + RUNNING_AT_ONCE - 1);
    let ids = link.query(&pipeline).await?.pop().unwrap_or_default();
    let ids = reply::array(ids).and_then(|ids| ids.into_iter().map(reply::text).collect());
    ids.map_err(|why| link.corrupt(why))
}

/// Those whose worker is dead, or has them only by the record.
async fn without_worker(
    link: &Link,
    keys: &Keys,
    index: &str,
    ids: Vec<String>,
    only_by_record: &(dyn Fn(&str, &WorkerId) -> bool + Send + Sync),
) -> Result<Vec<String>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(ids.len());
    for id in &ids {
        pipeline.cmd("HGET").arg(keys.job(id)).arg("head");
    }
    let mut owners = HashMap::new();
    for (id, head) in ids.into_iter().zip(link.query(&pipeline).await?) {
        match reply::text(head).ok().as_deref().and_then(record::worker) {
            Some(worker) => drop(owners.insert(id, worker)),
            None => drop(link.eval(scripts::prune(keys, index, &id)).await?),
        }
    }
    let workers: HashSet<_> = owners.values().cloned().collect();
    if workers.is_empty() {
        return Ok(Vec::new());
    }
    let dead = dead(link, keys, workers.into_iter().collect()).await?;
    owners.retain(|id, worker| dead.contains(worker) || only_by_record(id, worker));
    Ok(owners.into_keys().collect())
}

pub(super) async fn records(
    link: &Link,
    keys: &Keys,
    ids: impl Iterator<Item = String>,
) -> Result<Vec<Record>, StoreError> {
    let mut pipeline = Pipeline::new();
    for id in ids {
        pipeline.cmd("HGETALL").arg(keys.job(&id));
    }
    let replies = link.query(&pipeline).await?.into_iter();
    let read = |reply| {
        let fields = reply::fields(reply);
        // A job that cannot be read must not keep the others from being healed.
        match fields.and_then(record::Fields::read) {
            Ok(record) => Some(record),
            Err(why) => {
                tracing::warn!(why, "a job's record cannot be read");
                None
            }
        }
    };
    Ok(replies.filter_map(read).collect())
}
