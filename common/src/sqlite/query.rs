//! What is read, all of it bounded: a look at a large file must not become a long one, for a
//! snapshot that is held keeps the log from being emptied.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::{
    fault::Fault,
    row::{self, Key},
    workers,
};
use crate::{
    filter::Filter,
    job::{Reason, Record, StateKind},
    ports::{Listing, PageRequest, QueueCounts},
    time::Timestamp,
};

/// Rows that a page looks at. A page that found less is short, and goes on.
const SCANNED_MAX: usize = 20_000;
/// Records on a page, whatever is asked for.
const PAGE_MAX: usize = 1000;
/// What the index of rare states knows.
const RARE: [StateKind; 5] = [
    StateKind::Blocked,
    StateKind::Scheduled,
    StateKind::Retrying,
    StateKind::Dead,
    StateKind::Cancelled,
];
/// The index's own words: SQLite uses it only where a query repeats them.
const RARE_SQL: &str = "state <> 'queued' AND state <> 'running' AND state <> 'succeeded'";

/// A page of records, newest first.
pub(super) fn list(
    db: &Connection,
    filter: &Filter,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Listing, Fault> {
    let (created, seq) = start(filter, page, now)?;
    let limit = page.limit.clamp(1, PAGE_MAX);
    let batch = filter.batch.as_deref();
    let mut look = db.prepare_cached(&sql(filter))?;
    let mut rows = match batch {
        Some(batch) => look.query((created, seq, batch))?,
        None => look.query((created, seq))?,
    };
    let mut listing = Listing {
        records: Vec::new(),
        next: None,
    };
    let (mut scanned, mut last) = (0, (0_i64, 0_i64));
    while let Some(row) = rows.next()? {
        if listing.records.len() == limit || scanned == SCANNED_MAX {
            listing.next = Some(format!("{}:{}", last.0, last.1));
            break;
        }
        scanned += 1;
        let seq: i64 = row.get("seq")?;
        last = (row.get("created")?, seq);
        if may_match(row, filter)? {
            let record = row::record(db, Key::Seq(seq), true)?;
            listing
                .records
                .extend(record.filter(|record| filter.matches(record, now)));
        }
    }
    Ok(listing)
}

/// Where to begin: after the page before, or with what is old enough.
fn start(filter: &Filter, page: &PageRequest, now: Timestamp) -> Result<(i64, i64), Fault> {
    if let Some(cursor) = &page.after {
        let parts = cursor.split_once(':');
        return parts
            .and_then(|(created, seq)| Some((created.parse().ok()?, seq.parse().ok()?)))
            .ok_or_else(|| Fault::failed(format!("`{cursor:.80}` is not the end of a page")));
    }
    let age = filter.older_than.unwrap_or_default();
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let newest = match age {
        0 => i64::MAX,
        age => now.as_millis().saturating_sub(age),
    };
    Ok((newest, i64::MAX))
}

/// By the index that leaves least to look at.
fn sql(filter: &Filter) -> String {
    let only = |kinds: &[StateKind]| {
        !filter.states.is_empty() && filter.states.iter().all(|state| kinds.contains(state))
    };
    let (index, which) = if filter.batch.is_some() {
        ("jobs_batch", "batch = ?3")
    } else if only(&[StateKind::Running]) {
        ("jobs_running", "state = 'running'")
    } else if only(&RARE) || filter.reason.is_some() {
        // Only the dead have a reason.
        ("jobs_rare", RARE_SQL)
    } else {
        ("jobs_created", "TRUE")
    };
    format!(
        "SELECT seq, created, state, task, queue, lane, reason, batch
         FROM jobs INDEXED BY {index}
         WHERE {which} AND (created, seq) < (?1, ?2) ORDER BY created DESC, seq DESC"
    )
}

/// What can be told without reading the spec: spares most of the reading.
fn may_match(row: &Row<'_>, filter: &Filter) -> Result<bool, Fault> {
    let state: StateKind = row::word(row, 2)?;
    if !filter.states.is_empty() && !filter.states.contains(&state) {
        return Ok(false);
    }
    let is = |at: &str, wanted: Option<&str>| {
        let Some(wanted) = wanted else {
            return Ok(true);
        };
        let found = row.get_ref(at)?.as_str_or_null();
        Ok::<_, Fault>(found.map_err(rusqlite::Error::from)? == Some(wanted))
    };
    let task = row
        .get_ref("task")?
        .as_str()
        .map_err(rusqlite::Error::from)?;
    let lane: usize = row.get::<_, u8>("lane")?.into();
    Ok(is("queue", filter.queue.as_deref())?
        && is("batch", filter.batch.as_deref())?
        && is("reason", filter.reason.map(Reason::as_str))?
        && filter.lane.is_none_or(|wanted| wanted.index() == lane)
        && filter
            .task
            .as_ref()
            .is_none_or(|wanted| wanted.matches(task)))
}

/// How many jobs each queue has in each state.
pub(super) fn counts(db: &Connection) -> Result<Vec<QueueCounts>, Fault> {
    let mut look = db.prepare_cached("SELECT queue, state, jobs FROM tallies WHERE jobs > 0")?;
    let mut rows = look.query([])?;
    let mut queues = BTreeMap::<_, BTreeMap<_, _>>::new();
    while let Some(row) = rows.next()? {
        let jobs: i64 = row.get("jobs")?;
        queues
            .entry(row::word(row, 0)?)
            .or_default()
            .insert(row::word(row, 1)?, jobs.unsigned_abs());
    }
    let counts = |(queue, states)| QueueCounts { queue, states };
    Ok(queues.into_iter().map(counts).collect())
}

/// Running jobs whose worker is not alive, or is `me`.
pub(super) fn orphans(
    db: &Connection,
    me: &str,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Record>, Fault> {
    let workers: Vec<String> = db
        .prepare_cached("SELECT DISTINCT worker FROM jobs WHERE state = 'running'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut orphans = Vec::new();
    for worker in workers {
        let suspect = worker == me || !workers::is_alive(db, &worker, now)?;
        if orphans.len() < limit && suspect {
            let left = i64::try_from(limit - orphans.len()).unwrap_or(i64::MAX);
            let seqs: Vec<i64> = db
                .prepare_cached(
                    "SELECT seq FROM jobs WHERE state = 'running' AND worker = ?1 LIMIT ?2",
                )?
                .query_map((worker, left), |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for seq in seqs {
                orphans.extend(row::record(db, Key::Seq(seq), false)?);
            }
        }
    }
    Ok(orphans)
}
