//! Which running jobs nobody runs.

use std::collections::HashMap;

use ::redis::Pipeline;

use super::{dead::dead, keys::Keys, link::Link, list, record, reply, scripts};
use crate::{
    job::{JobId, Record, StateKind, WorkerId},
    ports::{InHand, StoreError},
    protocol::WORKER_TTL,
};

/// Running jobs of one queue that are looked at together.
const RUNNING_AT_ONCE: usize = 1000;

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
            let owners = owners(link, keys, &index, ids).await?;
            let dead = dead(link, keys, owners.values().cloned().collect()).await?;
            let nobodys = |id: &JobId, worker: &WorkerId| {
                dead.contains(worker) || (worker == me && !in_hand(id))
            };
            let suspects = owners.iter().filter(|(id, worker)| nobodys(id, worker));
            let room = limit.saturating_sub(orphans.len());
            let found = records(link, keys, suspects.map(|(id, _)| id).take(room)).await?;
            // Meanwhile somebody else may have begun to run it.
            orphans.extend(found.into_iter().filter(|record| {
                let worker = record.life.state.worker();
                worker.is_some_and(|worker| nobodys(&record.spec.id, worker))
            }));
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

/// Who runs each of these, by the records.
async fn owners(
    link: &Link,
    keys: &Keys,
    index: &str,
    ids: Vec<String>,
) -> Result<HashMap<JobId, WorkerId>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(ids.len());
    for id in &ids {
        pipeline.cmd("HGET").arg(keys.job(id)).arg("head");
    }
    let mut owners = HashMap::new();
    for (text, head) in ids.into_iter().zip(link.query(&pipeline).await?) {
        let worker = reply::text(head).ok().as_deref().and_then(record::worker);
        match (text.parse(), worker) {
            (Ok(id), Some(worker)) => drop(owners.insert(id, worker)),
            _ => drop(link.eval(scripts::prune(keys, index, &text)).await?),
        }
    }
    Ok(owners)
}

pub(super) async fn records(
    link: &Link,
    keys: &Keys,
    ids: impl Iterator<Item = &JobId>,
) -> Result<Vec<Record>, StoreError> {
    let mut pipeline = Pipeline::new();
    for id in ids {
        pipeline.cmd("HGETALL").arg(keys.job(id));
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
