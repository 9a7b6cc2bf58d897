//! Jobs that wait although their time has come: those whose message may be gone.
//!
//! A server that was killed, or another one that took over, may have lost its newest writes. A job
//! that ended then waits again by its record, while its message is long acknowledged.

use ::redis::{Pipeline, Value};

use super::{keys::Keys, link::Link, orphans, record, reply};
use crate::{
    job::{JobId, QueueName, Record, StateKind},
    ports::StoreError,
    time::Timestamp,
};

/// Jobs with a time of their own that one look covers. They are indexed by creation, so that the
/// due ones may be anywhere: each look begins at another place, chosen by chance.
const TIMED_AT_ONCE: usize = 2000;
const TIMED: [StateKind; 2] = [StateKind::Scheduled, StateKind::Retrying];

pub(super) async fn overdue(
    link: &Link,
    keys: &Keys,
    queue: &QueueName,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut ids = queued(link, keys, queue, before, limit).await?;
    for state in TIMED {
        let index = keys.index(queue, state);
        ids.extend(timed(link, keys, &index, before).await?);
    }
    ids.truncate(limit);
    let ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    let records = orphans::records(link, keys, ids.iter()).await?;
    let waits = |record: &Record| record.life.state.kind().is_claimable();
    Ok(records.into_iter().filter(waits).collect())
}

/// Oldest first.
async fn queued(
    link: &Link,
    keys: &Keys,
    queue: &QueueName,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline
        .cmd("ZRANGEBYSCORE")
        .arg(keys.index(queue, StateKind::Queued))
        .arg("-inf")
        .arg(before.as_millis())
        .arg("LIMIT")
        .arg(0)
        .arg(limit);
    one_list(link, &pipeline).await
}

async fn timed(
    link: &Link,
    keys: &Keys,
    index: &str,
    before: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("ZCARD").arg(index);
    let count = link.query(&pipeline).await?.pop().unwrap_or_default();
    let count: usize = reply::number(count).map_err(|why| link.corrupt(why))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let start = fastrand::usize(..=count.saturating_sub(TIMED_AT_ONCE));
    pipeline.clear();
    pipeline
        .cmd("ZRANGE")
        .arg(index)
        .arg(start)
        .arg(start + TIMED_AT_ONCE - 1);
    let mut ids = one_list(link, &pipeline).await?;
    pipeline.clear();
    for id in &ids {
        pipeline.cmd("HGET").arg(keys.job(id)).arg("head");
    }
    let mut heads = link.query(&pipeline).await?.into_iter();
    ids.retain(|_| is_due(heads.next().unwrap_or_default(), before));
    Ok(ids)
}

fn is_due(head: Value, before: Timestamp) -> bool {
    let due = reply::text(head).ok().as_deref().and_then(record::due);
    due.is_some_and(|due| due < before)
}

async fn one_list(link: &Link, pipeline: &Pipeline) -> Result<Vec<String>, StoreError> {
    let list = link.query(pipeline).await?.pop().unwrap_or_default();
    let texts = reply::array(list).and_then(|list| list.into_iter().map(reply::text).collect());
    texts.map_err(|why| link.corrupt(why))
}
