//! Queues that are paused.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{fault::Fault, row, writer::Txn};
use crate::{
    job::QueueName,
    ports::{Pause, Pauses},
    time::Timestamp,
};

/// Pauses the queue, unless it is paused; whether it was not.
pub(super) fn pause(txn: &Txn<'_>, queue: &QueueName, pause: &Pause) -> Result<bool, Fault> {
    let new = txn
        .db
        .prepare_cached(
            "INSERT OR IGNORE INTO pauses (queue, since, by, reason) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((&**queue, pause.since.as_millis(), &pause.by, &pause.reason))?;
    Ok(new > 0)
}

/// Ends its pause; whether there was one.
pub(super) fn resume(txn: &Txn<'_>, queue: &QueueName) -> Result<bool, Fault> {
    let gone = txn
        .db
        .prepare_cached("DELETE FROM pauses WHERE queue = ?1")?
        .execute([&**queue])?;
    Ok(gone > 0)
}

/// All that are paused.
pub(super) fn all(db: &Connection) -> Result<Pauses, Fault> {
    let mut look = db.prepare_cached("SELECT queue, since, by, reason FROM pauses")?;
    let mut rows = look.query([])?;
    let mut pauses = Pauses::new();
    while let Some(row) = rows.next()? {
        let pause = Pause {
            since: Timestamp::from_millis(row.get(1)?),
            by: row.get(2)?,
            reason: row.get(3)?,
        };
        pauses.insert(row::word(row, 0)?, pause);
    }
    Ok(pauses)
}

/// Only which: what heartbeats want to know.
pub(super) fn names(db: &Connection) -> Result<BTreeSet<QueueName>, Fault> {
    let mut look = db.prepare_cached("SELECT queue FROM pauses")?;
    let mut rows = look.query([])?;
    let mut names = BTreeSet::new();
    while let Some(row) = rows.next()? {
        names.insert(row::word(row, 0)?);
    }
    Ok(names)
}
