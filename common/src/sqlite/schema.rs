//! Opens the file with the settings that its durability rests on, and makes what is in it.

use std::{path::Path, time::Duration};

use backon::{BlockingRetryable, ConstantBuilder};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::fault::Fault;

/// Written in the file's header: "Haul".
const APPLICATION_ID: i64 = 0x4861_756c;
/// The version of `schema.sql` and `batches.sql`.
pub(super) const VERSION: i64 = 3;
/// The part of the schema that came with version 3.
const BATCHES: &str = include_str!("batches.sql");
/// From the version before: what fills that part.
const FROM_2: &str = include_str!("schema/from-2.sql");
/// How long SQLite itself waits for another process's commit.
const BUSY: Duration = Duration::from_secs(5);
/// Together as long as `BUSY`.
const WAL_AGAIN: Duration = Duration::from_millis(5);
const WAL_TRIES: usize = 1000;
const WRITER_CACHE_KIB: u32 = 8 * 1024;
/// Readers share the system's page cache, and need little of their own.
pub(super) const READER_CACHE_KIB: u32 = 1024;

/// A connection with our settings.
pub(super) fn connect(path: &Path, cache_kib: u32) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA foreign_keys = OFF;"
    ))?;
    Ok(db)
}

/// The writer's connection; makes or checks the schema.
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    let mut db = connect(path, WRITER_CACHE_KIB)?;
    // Looked at before anything is written: a file that is not ours is left as it is. In one
    // transaction, for another process may be making the schema.
    recognise(&db.transaction()?)?;
    let mode = to_wal(&db)?;
    if mode != "wal" {
        return Err(Fault::wrong(format!(
            "its file system cannot share memory (journal mode stays `{mode}`); \
             put it on a local disk"
        )));
    }
    let txn = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match recognise(&txn)? {
        VERSION => {}
        2 => {
            txn.execute_batch(BATCHES)?;
            txn.execute_batch(FROM_2)?;
            txn.pragma_update(None, "user_version", VERSION)?;
        }
        _ => {
            txn.execute_batch(include_str!("schema.sql"))?;
            txn.execute_batch(BATCHES)?;
            txn.pragma_update(None, "application_id", APPLICATION_ID)?;
            txn.pragma_update(None, "user_version", VERSION)?;
        }
    }
    txn.execute_batch(include_str!("scripts.sql"))?;
    txn.execute_batch(include_str!("pauses.sql"))?;
    txn.commit()?;
    Ok(db)
}

/// The journal's mode afterwards. Two that change it at the same time would wait for each other, so
/// SQLite refuses one of them at once, whatever its busy time-out: it has to come again.
fn to_wal(db: &Connection) -> Result<String, Fault> {
    let pauses = ConstantBuilder::default()
        .with_delay(WAL_AGAIN)
        .with_max_times(WAL_TRIES);
    let change = || Ok(db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?);
    change.retry(pauses).when(Fault::is_busy).call()
}

/// The version of the file; 0 when it is empty.
fn recognise(db: &Transaction<'_>) -> Result<i64, Fault> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(0),
        (APPLICATION_ID, 2 | VERSION) => Ok(version),
        (APPLICATION_ID, _) if version > VERSION => Err(Fault::wrong(format!(
            "a newer Haul wrote it (format {version}, this one knows {VERSION}); \
             use that Haul, or name another file"
        ))),
        (APPLICATION_ID, _) => Err(Fault::wrong(format!(
            "an older Haul wrote it (format {version}, this one knows {VERSION}); \
             work it off with that Haul, or name another file"
        ))),
        _ => Err(Fault::wrong(
            "it is another program's SQLite file, not a Haul file; name another file".to_owned(),
        )),
    }
}
