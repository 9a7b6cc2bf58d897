//! Scripts: texts by name and version.

use rusqlite::{Connection, OptionalExtension, Row};

use super::{fault::Fault, row, writer::Txn};
use crate::{
    job::{SCRIPT_VERSIONS_KEPT, Script, ScriptName, ScriptVersion},
    time::Timestamp,
};

/// Makes the name mean this text; forgets versions that are too many.
pub(super) fn keep(txn: &Txn<'_>, script: &Script) -> Result<(), Fault> {
    // Not an update: the latest row is what the name means.
    txn.db
        .prepare_cached(
            "INSERT OR REPLACE INTO scripts (name, version, added, text) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((
            &*script.name,
            script.version.as_str(),
            script.added.as_millis(),
            &script.text,
        ))?;
    let most = i64::try_from(SCRIPT_VERSIONS_KEPT).unwrap_or(i64::MAX);
    txn.db
        .prepare_cached(
            "DELETE FROM scripts WHERE name = ?1 AND seq <=
             (SELECT seq FROM scripts WHERE name = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute((&*script.name, most))?;
    Ok(())
}

/// This version, or the latest.
pub(super) fn find(
    db: &Connection,
    name: &ScriptName,
    version: Option<&ScriptVersion>,
) -> Result<Option<Script>, Fault> {
    let mut look = db.prepare_cached(
        "SELECT name, version, added, text FROM scripts
         WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY seq DESC LIMIT 1",
    )?;
    let version = version.map(ScriptVersion::as_str);
    let found = look.query_row((&**name, version), |row| Ok(script(row)));
    found.optional()?.transpose()
}

/// The latest of each name.
pub(super) fn all(db: &Connection) -> Result<Vec<Script>, Fault> {
    let mut look = db.prepare_cached(
        "SELECT name, version, added, text FROM scripts
         WHERE seq IN (SELECT max(seq) FROM scripts GROUP BY name) ORDER BY name",
    )?;
    let mut rows = look.query([])?;
    let mut scripts = Vec::new();
    while let Some(row) = rows.next()? {
        scripts.push(script(row)?);
    }
    Ok(scripts)
}

/// Forgets all versions.
pub(super) fn forget(txn: &Txn<'_>, name: &ScriptName) -> Result<bool, Fault> {
    let gone = txn
        .db
        .prepare_cached("DELETE FROM scripts WHERE name = ?1")?
        .execute([&**name])?;
    Ok(gone > 0)
}

fn script(row: &Row<'_>) -> Result<Script, Fault> {
    Ok(Script {
        name: row::word(row, 0)?,
        version: row::word(row, 1)?,
        added: Timestamp::from_millis(row.get(2)?),
        text: row.get(3)?,
    })
}
