//! Workers: their heartbeats, and what they are told in return.

use rusqlite::{Connection, OptionalExtension};

use super::{
    fault::Fault,
    liveness::Identity,
    row::{self, signed},
    session,
    writer::Txn,
};
use crate::{
    job::{Fence, JobId},
    ports::{Beat, Pulse, WorkerInfo},
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
    let mut pulse = Pulse::default();
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

/// All workers that are alive.
pub(super) fn living(db: &Connection, now: Timestamp) -> Result<Vec<WorkerInfo>, Fault> {
    let mut look =
        db.prepare_cached("SELECT pid, birth, place, seen, info FROM workers ORDER BY id")?;
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
