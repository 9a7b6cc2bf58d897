//! Looks into copies of a live SQLite file, as a crash of the machine might have left them.
//!
//! The copy is taken while nobody can write. Its log is cut somewhere behind the frames that a
//! checkpoint may have brought into the file already: those are on the disk, or else the file is not.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use haul_producer::Producer;
use rusqlite::Connection;

use super::{
    evidence::SUBMITS,
    ledger::{self, What},
    load::id,
};

/// Places in the wal-index and in the log, of SQLite's file format.
const FRAMES: usize = 16;
const BACKFILL_ATTEMPTED: usize = 128;
const LOG_HEAD: u64 = 32;
const FRAME_HEAD: u64 = 24;
/// So many of the jobs that were accepted last must be in a whole copy.
const LOOKED_FOR: usize = 2000;

/// What is wrong with a copy of `file`, whose log breaks off at `cut`.
///
/// # Errors
/// When the copy cannot be taken.
pub async fn look(file: &Path, dir: &Path, cut: Option<f64>) -> Result<Vec<String>> {
    let accepted = accepted(&dir.join(SUBMITS))?;
    let copy = dir.join("copy.db");
    let (from, to) = (file.to_owned(), copy.clone());
    let taken = tokio::task::spawn_blocking(move || take(&from, &to, cut)).await??;
    let mut wrong = Vec::new();
    let integrity = integrity(&copy)?;
    if integrity != "ok" {
        wrong.push(format!("a copy cut at {taken} is damaged: {integrity}"));
    }
    let producer = Producer::connect(format!("sqlite:{}", copy.display()).as_str()).await?;
    producer.counts().await?;
    if cut.is_none() {
        for job in accepted.iter().rev().take(LOOKED_FOR) {
            if producer.find(&id(*job)).await?.is_none() {
                wrong.push(format!("job {job} was accepted, and is not in the file"));
            }
        }
    }
    tracing::info!(cut, frames = taken, integrity, "looked into a copy");
    Ok(wrong)
}

fn accepted(submits: &Path) -> Result<Vec<u64>> {
    let entries = ledger::read(submits)?.0;
    let accepted = entries.iter().filter(|entry| entry.what == What::Accepted);
    let mut known = HashSet::new();
    let new = accepted
        .map(|entry| entry.job)
        .filter(|job| known.insert(*job));
    Ok(new.collect())
}

/// Copies file and log; says how many frames the copy has.
fn take(file: &Path, copy: &Path, cut: Option<f64>) -> Result<u64> {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(copy, ending));
    }
    let mut db = Connection::open(file)?;
    db.busy_timeout(Duration::from_secs(20))?;
    let page: u32 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    // Nobody writes, and nobody starts the log anew, while this is held.
    let lock = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    fs::copy(beside(file, "-wal"), beside(copy, "-wal"))?;
    fs::copy(file, copy)?;
    let index = fs::read(beside(file, "-shm"))?;
    drop(lock);
    let kept = number(&index, BACKFILL_ATTEMPTED)?;
    // The log may be longer than what is in it: it is written over, not shortened.
    let frames = number(&index, FRAMES)?;
    let log = fs::OpenOptions::new()
        .write(true)
        .open(beside(copy, "-wal"))?;
    let frame = FRAME_HEAD + u64::from(page);
    let (least, length) = (LOG_HEAD + kept * frame, LOG_HEAD + frames * frame);
    let rest = length.saturating_sub(least);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "any place will do"
    )]
    let at = cut.map_or(length, |cut| least + (rest as f64 * cut) as u64);
    log.set_len(at)?;
    Ok(at.saturating_sub(LOG_HEAD) / frame)
}

fn number(index: &[u8], place: usize) -> Result<u64> {
    let bytes = index.get(place..place + 4).context("a short wal-index")?;
    Ok(u32::from_ne_bytes(bytes.try_into()?).into())
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn integrity(copy: &Path) -> Result<String> {
    let db = Connection::open(copy)?;
    Ok(db.pragma_query_value(None, "integrity_check", |row| row.get(0))?)
}
