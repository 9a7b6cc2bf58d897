//! What running attempts keep: progress, log, checkpoint and results of steps.

use rusqlite::OptionalExtension;

use super::{
    fault::Fault,
    row::{self, signed},
    writer::Txn,
};
use crate::ports::{Kept, Note, Save, SaveKey, Saved};

/// Keeps progress and log of the running attempt.
pub(super) fn note(txn: &Txn<'_>, note: &Note) -> Result<Kept, Fault> {
    let progress = note.progress.as_ref().map(row::text).transpose()?;
    let written = txn
        .db
        .prepare_cached(
            "UPDATE jobs SET progress = ?3, log = ?4
             WHERE id = ?1 AND fence = ?2 AND state = 'running'",
        )?
        .execute((&*note.id, signed(note.fence), progress, &note.log))?;
    if written == 1 {
        return Ok(Kept::Done);
    }
    let known = seq(txn, &note.id)?;
    Ok(known.map_or(Kept::Missing, |_| Kept::Lost))
}

/// Keeps a checkpoint or a step's result of the running attempt.
pub(super) fn save(txn: &Txn<'_>, save: &Save) -> Result<Kept, Fault> {
    let (kind, name) = match &save.key {
        SaveKey::Checkpoint => (0, ""),
        SaveKey::Step(name) => (1, name.as_str()),
    };
    let written = txn
        .db
        .prepare_cached(
            "INSERT INTO saves (seq, kind, name, value)
             SELECT seq, ?3, ?4, ?5 FROM jobs
             WHERE id = ?1 AND fence = ?2 AND state = 'running'
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )?
        .execute((&*save.id, signed(save.fence), kind, name, save.value.get()))?;
    if written == 1 {
        return Ok(Kept::Done);
    }
    let known = seq(txn, &save.id)?;
    Ok(known.map_or(Kept::Missing, |_| Kept::Lost))
}

fn seq(txn: &Txn<'_>, id: &str) -> Result<Option<i64>, Fault> {
    let mut look = txn
        .db
        .prepare_cached("SELECT seq FROM jobs WHERE id = ?1")?;
    Ok(look.query_row([id], |row| row.get(0)).optional()?)
}

/// What attempts saved.
pub(super) fn saved(db: &rusqlite::Connection, id: &str) -> Result<Saved, Fault> {
    let mut look = db.prepare_cached(
        "SELECT kind, name, value FROM saves WHERE seq = (SELECT seq FROM jobs WHERE id = ?1)",
    )?;
    let mut rows = look.query([id])?;
    let mut saved = Saved::default();
    while let Some(row) = rows.next()? {
        let text = row
            .get_ref("value")?
            .as_str()
            .map_err(rusqlite::Error::from);
        let value = row::parse("value", text?)?;
        if row.get::<_, i64>("kind")? == 0 {
            saved.checkpoint = Some(value);
        } else {
            saved.steps.insert(row.get("name")?, value);
        }
    }
    Ok(saved)
}
