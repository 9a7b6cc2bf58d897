//! How many jobs each queue and each batch has in each state, gathered over a commit and written once
//! in it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{fault::Fault, row};
use crate::{
    job::StateKind,
    ports::{BatchCounts, BatchListing, PageRequest},
    time::Timestamp,
};

const STATES: usize = 8;
/// Batches on a page, whatever is asked for.
const BATCHES_MAX: usize = 1000;
/// In the order of [`StateKind::ALL`].
macro_rules! counts {
    () => {
        "blocked, scheduled, queued, running, retrying, succeeded, dead, cancelled"
    };
}

/// Differences that a commit makes. Queues are few, so a list is the fastest map; of batches there
/// may be one for each job.
#[derive(Debug, Default)]
pub(super) struct Tally {
    queues: Vec<(String, [i64; STATES])>,
    batches: HashMap<String, Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    created: Option<i64>,
    counts: [i64; STATES],
}

/// Whose counts a job is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) queue: &'a str,
    pub(super) batch: Option<&'a str>,
}

impl Tally {
    /// A job is new, in this state.
    pub(super) fn came(&mut self, place: Place<'_>, created: Timestamp, to: StateKind) {
        self.moved(place, None, Some(to));
        if let Some(batch) = place.batch.and_then(|batch| self.batches.get_mut(batch)) {
            batch.created.get_or_insert(created.as_millis());
        }
    }

    /// A job went from one state to another; nothing stands for after its end.
    pub(super) fn moved(
        &mut self,
        place: Place<'_>,
        from: Option<StateKind>,
        to: Option<StateKind>,
    ) {
        let found = self.queues.iter().position(|(name, _)| name == place.queue);
        let at = found.unwrap_or_else(|| {
            self.queues.push((place.queue.to_owned(), [0; STATES]));
            self.queues.len() - 1
        });
        count(&mut self.queues[at].1, from, to);
        let Some(name) = place.batch else { return };
        // Looked up first: most often it is there, and needs no name of its own.
        if let Some(batch) = self.batches.get_mut(name) {
            count(&mut batch.counts, from, to);
        } else {
            let batch = self.batches.entry(name.to_owned()).or_default();
            count(&mut batch.counts, from, to);
        }
    }

    /// Writes the differences into the open transaction.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Fault> {
        for (queue, counts) in self.queues.drain(..) {
            for (state, by) in StateKind::ALL.iter().zip(counts) {
                if by != 0 {
                    db.prepare_cached(
                        "INSERT INTO tallies (queue, state, jobs) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs",
                    )?
                    .execute((&queue, state.as_str(), by))?;
                }
            }
        }
        for (name, batch) in self.batches.drain() {
            batch.flush(db, &name)?;
        }
        Ok(())
    }
}

fn count(counts: &mut [i64; STATES], from: Option<StateKind>, to: Option<StateKind>) {
    if let Some(from) = from {
        counts[from as usize] -= 1;
    }
    if let Some(to) = to {
        counts[to as usize] += 1;
    }
}

impl Batch {
    fn flush(&self, db: &Connection, name: &str) -> Result<(), Fault> {
        if self.counts == [0; STATES] {
            return Ok(());
        }
        let mut write = db.prepare_cached(concat!(
            "INSERT INTO batches (batch, created, ",
            counts!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET blocked = blocked + ?3, scheduled = scheduled + ?4,
                 queued = queued + ?5, running = running + ?6, retrying = retrying + ?7,
                 succeeded = succeeded + ?8, dead = dead + ?9, cancelled = cancelled + ?10"
        ))?;
        write.raw_bind_parameter(1, name)?;
        write.raw_bind_parameter(2, self.created.unwrap_or(0))?;
        for (at, by) in (3..).zip(self.counts) {
            write.raw_bind_parameter(at, by)?;
        }
        write.raw_execute()?;
        if self.counts.iter().sum::<i64>() < 0 {
            db.prepare_cached(
                "DELETE FROM batches WHERE batch = ?1 AND blocked + scheduled + queued + running
                     + retrying + succeeded + dead + cancelled = 0",
            )?
            .execute([name])?;
        }
        Ok(())
    }
}

/// The counts of one batch.
pub(super) fn batch(db: &Connection, name: &str) -> Result<Option<BatchCounts>, Fault> {
    let mut look = db.prepare_cached(concat!(
        "SELECT batch, created, ",
        counts!(),
        " FROM batches WHERE batch = ?1"
    ))?;
    look.query_row([name], |row| Ok(counts(row)))
        .optional()?
        .transpose()
}

/// A page of batches, newest first.
pub(super) fn batches(db: &Connection, page: &PageRequest) -> Result<BatchListing, Fault> {
    let after = page.after.as_deref();
    let parts = after.map(|text| {
        let (created, name) = text.split_once(':')?;
        Some((created.parse().ok()?, name))
    });
    let (created, name): (i64, &str) = match parts {
        None => (i64::MAX, ""),
        Some(Some(parts)) => parts,
        Some(None) => {
            let text = after.unwrap_or_default();
            return Err(Fault::failed(format!(
                "`{text:.80}` is not the end of a page"
            )));
        }
    };
    let mut look = db.prepare_cached(concat!(
        "SELECT batch, created, ",
        counts!(),
        " FROM batches WHERE (created, batch) < (?1, ?2) ORDER BY created DESC, batch DESC"
    ))?;
    let mut rows = look.query((created, name))?;
    let mut listing = BatchListing {
        batches: Vec::new(),
        next: None,
    };
    let limit = page.limit.clamp(1, BATCHES_MAX);
    while let Some(row) = rows.next()? {
        if listing.batches.len() == limit {
            let last = listing.batches.last();
            listing.next = last.map(|last| format!("{}:{}", last.created.as_millis(), last.batch));
            break;
        }
        listing.batches.push(counts(row)?);
    }
    Ok(listing)
}

fn counts(row: &Row<'_>) -> Result<BatchCounts, Fault> {
    let mut counts = BatchCounts {
        batch: row::word(row, 0)?,
        created: Timestamp::from_millis(row.get(1)?),
        states: std::collections::BTreeMap::new(),
    };
    for (at, state) in (2..).zip(StateKind::ALL) {
        let jobs: i64 = row.get(at)?;
        if jobs > 0 {
            counts.states.insert(*state, jobs.unsigned_abs());
        }
    }
    Ok(counts)
}
