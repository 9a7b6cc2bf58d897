//! Workers: their heartbeats, and what they are told in return. A lease is a worker's row without
//! a description: nobody beats for it.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::{
    fault::Fault,
    liveness::Identity,
    pauses,
    row::{self, signed},
    session,
    writer::Txn,
};
use crate::{
    job::{Fence, JobId},
    ports::{Beat, LOST_FOR, Pulse, WORKER_TTL, WorkerInfo},
    time::Timestamp,
};

/// Rows of workers that fell silent so long ago are forgotten.
const SILENT_MS: i64 = 3_600_000;

/// Writes that the worker is alive, and looks at its attempts.
pub(super) fn beat(txn: &Txn<'_>, beat: &Beat, now: Timestamp) -> Result<Pulse, Fault> {
    let own = Identity::own();
    txn.db
        .prepare_cached(
            "INSERT OR REPLACE INTO workers (id, info, pid, birth, place, seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            &*beat.worker.id,
            row::text(&beat.worker)?,
            own.pid,
            own.birth,
            &own.place,
            now.as_millis(),
        ))?;
    txn.db
        .prepare_cached("DELETE FROM workers WHERE seen < ?1")?
        .execute([now.as_millis() - SILENT_MS])?;
    let mut pulse = Pulse {
        paused: pauses::names(txn.db)?,
        ..Pulse::default()
    };
    for (id, fence) in &beat.running {
        feel(txn.db, id, *fence, &mut pulse)?;
    }
    Ok(pulse)
}

fn feel(db: &Connection, id: &JobId, fence: Fence, pulse: &mut Pulse) -> Result<(), Fault> {
    let mut look =
        db.prepare_cached("SELECT state = 'running', fence, cancel FROM jobs WHERE id = ?1")?;
    let found: Option<(bool, i64, bool)> =
        look.query_row([&**id], |row| row.try_into()).optional()?;
    let (runs, at, cancel) = found.unwrap_or((false, 0, false));
    if at < signed(fence) {
        // A record that is gone, or from before the claim, takes no attempt away.
        pulse.forgotten.push(id.clone());
    } else if !runs || at > signed(fence) {
        pulse.lost.push(id.clone());
    } else if cancel {
        pulse.cancelled.push(id.clone());
    }
    Ok(())
}

/// Keeps a worker alive until a time, whatever becomes of its process; says until when.
pub(super) fn lease(
    txn: &Txn<'_>,
    worker: &str,
    lease: Duration,
    renew: bool,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    if renew && !is_alive(txn.db, worker, now)? {
        return Ok(None);
    }
    let until = now + lease;
    // Of no process, and last heard of so late that its time is over just then.
    txn.db
        .prepare_cached(
            "INSERT OR REPLACE INTO workers (id, info, pid, birth, place, seen)
             VALUES (?1, '', 0, NULL, NULL, ?2)",
        )?
        .execute((worker, (until - WORKER_TTL).as_millis()))?;
    Ok(Some(until))
}

/// Forgets a worker that leaves in good order.
pub(super) fn retire(txn: &Txn<'_>, worker: &str) -> Result<(), Fault> {
    txn.db
        .prepare_cached("DELETE FROM workers WHERE id = ?1")?
        .execute([worker])?;
    Ok(())
}

/// Whether the worker beats, and its process is there.
pub(super) fn is_alive(db: &Connection, worker: &str, now: Timestamp) -> Result<bool, Fault> {
    let mut look =
        db.prepare_cached("SELECT pid, birth, place, seen FROM workers WHERE id = ?1")?;
    let found = look.query_row([worker], session::identity).optional()?;
    Ok(found.is_some_and(|(who, seen)| who.is_alive(seen, now)))
}

/// All workers that beat.
pub(super) fn living(db: &Connection, now: Timestamp) -> Result<Vec<WorkerInfo>, Fault> {
    let mut look = db.prepare_cached(
        "SELECT pid, birth, place, seen, info FROM workers
             WHERE info <> '' ORDER BY id",
    )?;
    let mut rows = look.query([])?;
    let mut living = Vec::new();
    while let Some(row) = rows.next()? {
        let (who, seen) = session::identity(row)?;
        if who.is_alive(seen, now) {
            let info = row.get_ref("info")?.as_str().map_err(rusqlite::Error::from);
            living.push(row::parse("info", info?)?);
        }
    }
    Ok(living)
}

/// How many fell silent lately.
pub(super) fn lost(db: &Connection, now: Timestamp) -> Result<u64, Fault> {
    let since = now.as_millis() - i64::try_from(LOST_FOR.as_millis()).unwrap_or(i64::MAX);
    let mut look = db.prepare_cached(
        "SELECT pid, birth, place, seen FROM workers WHERE info <> '' AND seen > ?1",
    )?;
    let mut lost = 0;
    for found in look.query_map([since], session::identity)? {
        let (who, seen) = found?;
        lost += u64::from(!who.is_alive(seen, now));
    }
    Ok(lost)
}
