//! Sessions: one open file of one process. What its consumers hold goes back once it is dead.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{fault::Fault, liveness::Identity};
use crate::{job::QueueName, time::Timestamp};

/// A new session of this process.
fn begin(db: &Connection, now: Timestamp) -> Result<i64, Fault> {
    let own = Identity::own();
    db.prepare_cached("INSERT INTO sessions (pid, birth, place, seen) VALUES (?1, ?2, ?3, ?4)")?
        .execute((own.pid, own.birth, &own.place, now.as_millis()))?;
    Ok(db.last_insert_rowid())
}

/// A new consumer in `session`, or in a new one where that was declared dead: session, consumer.
pub(super) fn join(
    db: &Connection,
    session: i64,
    queue: &QueueName,
    lane: i64,
    now: Timestamp,
) -> Result<(i64, i64), Fault> {
    let session = if beat(db, session, now)? {
        session
    } else {
        begin(db, now)?
    };
    db.prepare_cached("INSERT INTO consumers (session, queue, lane) VALUES (?1, ?2, ?3)")?
        .execute((session, &**queue, lane))?;
    Ok((session, db.last_insert_rowid()))
}

/// Says that the session is alive; false when it was declared dead before.
pub(super) fn beat(db: &Connection, session: i64, now: Timestamp) -> Result<bool, Fault> {
    let mut update = db.prepare_cached("UPDATE sessions SET seen = ?2 WHERE id = ?1")?;
    Ok(update.execute((session, now.as_millis()))? == 1)
}

/// Whether the consumer is still known. Once its session is buried, it is not.
pub(super) fn is_known(db: &Connection, consumer: i64) -> Result<bool, Fault> {
    let mut look = db.prepare_cached("SELECT 1 FROM consumers WHERE id = ?1")?;
    Ok(look.query_row([consumer], |_| Ok(())).optional()?.is_some())
}

/// Ends a consumer: what it holds goes back.
pub(super) fn leave(db: &Connection, consumer: i64) -> Result<(), Fault> {
    db.execute(
        "INSERT INTO ready (queue, lane, seq, deliveries)
         SELECT queue, lane, seq, deliveries + 1 FROM held WHERE consumer = ?1",
        [consumer],
    )?;
    db.execute("DELETE FROM held WHERE consumer = ?1", [consumer])?;
    db.execute("DELETE FROM consumers WHERE id = ?1", [consumer])?;
    Ok(())
}

/// Ends a session with all of its consumers.
pub(super) fn bury(db: &Connection, session: i64) -> Result<(), Fault> {
    let consumers: Vec<i64> = db
        .prepare("SELECT id FROM consumers WHERE session = ?1")?
        .query_map([session], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for consumer in consumers {
        leave(db, consumer)?;
    }
    db.execute("DELETE FROM sessions WHERE id = ?1", [session])?;
    Ok(())
}

/// Sessions whose process has ended, or has not been heard of for too long.
pub(super) fn dead(db: &Connection, now: Timestamp) -> Result<Vec<i64>, Fault> {
    let mut all = db.prepare_cached("SELECT pid, birth, place, seen, id FROM sessions")?;
    let mut rows = all.query([])?;
    let mut dead = Vec::new();
    while let Some(row) = rows.next()? {
        let (who, seen) = identity(row)?;
        if !who.is_alive(seen, now) {
            dead.push(row.get(4)?);
        }
    }
    Ok(dead)
}

/// Reads `pid, birth, place, seen` from the front of a row.
pub(super) fn identity(row: &Row<'_>) -> rusqlite::Result<(Identity, Timestamp)> {
    let who = Identity {
        pid: row.get(0)?,
        birth: row.get(1)?,
        place: row.get(2)?,
    };
    Ok((who, Timestamp::from_millis(row.get(3)?)))
}

/// Buries every dead session; says how many there were.
pub(super) fn bury_all(db: &Connection) -> Result<usize, Fault> {
    let dead = dead(db, Timestamp::now())?;
    for session in &dead {
        tracing::info!(session, "gives back what a process held that is gone");
        bury(db, *session)?;
    }
    Ok(dead.len())
}

/// The same, before the writer thread has the connection.
pub(super) fn bury_the_dead(db: &Connection) -> Result<(), Fault> {
    if dead(db, Timestamp::now())?.is_empty() {
        return Ok(());
    }
    db.execute_batch("BEGIN IMMEDIATE")?;
    let buried = bury_all(db);
    db.execute_batch(if buried.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    buried.map(drop)
}
