//! Lists and counts, from the indexes.
//!
//! A list merges the indexes that the filter leaves, newest first, reads the records in chunks and
//! asks the filter about each. It looks at [`SCAN_MAX`] records at most; then the page is short and
//! says where to go on. No order is lost where several jobs are created in one millisecond: indexes
//! and cursors go by creation, then id.

pub(super) mod cursor;
mod merge;

use std::collections::{BTreeMap, HashSet};

use ::redis::{Pipeline, Value};

use self::{cursor::Cursor, merge::Merge};
use super::{
    keys::Keys,
    link::Link,
    record::{self, Fields},
    reply, scripts,
};
use crate::{
    filter::Filter,
    job::{BatchId, QueueName, Record, StateKind},
    ports::{Listing, PageRequest, QueueCounts, StoreError},
};

/// Records that one page looks at.
const SCAN_MAX: usize = 5000;
/// Records that one round trip reads; each may hold half a MiB.
const CHUNK: usize = 64;
/// Batches on a page, whatever is asked for.
const BATCHES_MAX: usize = 500;

pub(super) async fn list(
    link: &Link,
    keys: &Keys,
    filter: &Filter,
    page: PageRequest,
) -> Result<Listing, StoreError> {
    let after = cursor(link, page.after.as_deref())?;
    let now = link.now();
    let mut merge = Merge::new(link, indexes(link, keys, filter).await?, filter, now, after);
    let mut listing = Listing {
        records: Vec::new(),
        next: None,
    };
    let mut seen = HashSet::new();
    for _ in 0..SCAN_MAX.div_ceil(CHUNK) {
        let candidates = merge.take(CHUNK).await?;
        let records = records(link, keys, &candidates).await?;
        let mut left = candidates.len();
        for (candidate, record) in candidates.into_iter().zip(records) {
            left -= 1;
            let matching = record.filter(|record| filter.matches(record, now));
            // A job that changes its state meanwhile may be met again in another index.
            let new = matching.filter(|record| seen.insert(record.spec.id.clone()));
            listing.records.extend(new);
            let more = left > 0 || !merge.is_exhausted();
            listing.next = more.then(|| candidate.cursor.to_string());
            if listing.records.len() >= page.limit.max(1) {
                return Ok(listing);
            }
        }
        if merge.is_exhausted() {
            break;
        }
    }
    Ok(listing)
}

fn cursor(link: &Link, text: Option<&str>) -> Result<Option<Cursor>, StoreError> {
    let cursor = text.map(str::parse).transpose();
    cursor.map_err(|why| StoreError::Failed {
        at: link.at().to_owned(),
        why,
    })
}

/// The smallest set of indexes that holds every job the filter can mean.
async fn indexes(link: &Link, keys: &Keys, filter: &Filter) -> Result<Vec<String>, StoreError> {
    if let Some(batch) = &filter.batch {
        return Ok(vec![keys.batch(batch)]);
    }
    let queues = match &filter.queue {
        Some(queue) => vec![queue.clone()],
        None => queues(link, keys).await?,
    };
    let states = if filter.states.is_empty() {
        StateKind::ALL
    } else {
        &filter.states
    };
    let states: HashSet<_> = states.iter().copied().collect();
    let pairs = queues
        .iter()
        .flat_map(|queue| states.iter().map(move |state| (queue, *state)));
    Ok(pairs
        .map(|(queue, state)| keys.index(queue, state))
        .collect())
}

async fn records(
    link: &Link,
    keys: &Keys,
    candidates: &[merge::Candidate],
) -> Result<Vec<Option<Record>>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(candidates.len());
    for candidate in candidates {
        pipeline
            .cmd("HMGET")
            .arg(keys.job(&candidate.cursor.id))
            .arg(&record::LISTED);
    }
    let mut records = Vec::with_capacity(candidates.len());
    for (candidate, reply) in candidates.iter().zip(link.query(&pipeline).await?) {
        let id = &candidate.cursor.id;
        let read = match reply::listed(reply, &record::LISTED) {
            Ok(None) => {
                link.eval(scripts::prune(keys, &candidate.index, id))
                    .await?;
                None
            }
            Ok(Some(fields)) => readable(id, fields),
            Err(why) => return Err(link.corrupt(why)),
        };
        records.push(read);
    }
    Ok(records)
}

/// One job that cannot be read must not hide the others.
fn readable(id: &str, fields: Fields) -> Option<Record> {
    let read = fields.read();
    read.inspect_err(|why| tracing::warn!(id, why, "a job's record cannot be read"))
        .ok()
}

/// Every queue that ever had a job.
pub(super) async fn queues(link: &Link, keys: &Keys) -> Result<Vec<QueueName>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("SMEMBERS").arg(keys.queues());
    let names = link.query(&pipeline).await?.pop().unwrap_or_default();
    let names = reply::array(names).map_err(|why| link.corrupt(why))?;
    let mut queues: Vec<QueueName> = names
        .into_iter()
        .filter_map(|name| reply::text(name).ok()?.parse().ok())
        .collect();
    queues.sort();
    Ok(queues)
}

pub(super) async fn counts(link: &Link, keys: &Keys) -> Result<Vec<QueueCounts>, StoreError> {
    let queues = queues(link, keys).await?;
    let mut pipeline = Pipeline::with_capacity(queues.len() * StateKind::ALL.len());
    for queue in &queues {
        for state in StateKind::ALL {
            pipeline.cmd("ZCARD").arg(keys.index(queue, *state));
        }
    }
    let replies = link.query(&pipeline).await?;
    let counts = queues.into_iter().zip(replies.chunks(StateKind::ALL.len()));
    let counts = counts.map(|(queue, cards)| QueueCounts {
        queue,
        states: by_state(cards),
    });
    Ok(counts.filter(|counts| !counts.states.is_empty()).collect())
}

/// A page of batches, newest first, and where to go on.
pub(super) async fn batches(
    link: &Link,
    keys: &Keys,
    page: PageRequest,
) -> Result<(Vec<BatchId>, Option<String>), StoreError> {
    let after = cursor(link, page.after.as_deref())?;
    let all = vec![keys.all_batches()];
    let mut merge = Merge::new(link, all, &Filter::default(), link.now(), after);
    let taken = merge.take(page.limit.clamp(1, BATCHES_MAX)).await?;
    let last = taken.last().filter(|_| !merge.is_exhausted());
    let next = last.map(|last| last.cursor.to_string());
    let ids = taken
        .iter()
        .filter_map(|taken| taken.cursor.id.parse().ok());
    Ok((ids.collect(), next))
}

fn by_state(cards: &[Value]) -> BTreeMap<StateKind, u64> {
    let number = |card: &Value| reply::number::<u64>(card.clone()).unwrap_or(0);
    let cards = StateKind::ALL.iter().zip(cards.iter().map(number));
    cards
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| (*state, count))
        .collect()
}
