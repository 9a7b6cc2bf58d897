//! SQLite alone: the least durable work that a job needs, with group commits and no Haul. The
//! ceiling that `haul bench drain` on a file is measured against.
//!
//! `bare-sqlite FILE [JOBS] [GROUP]`: submits JOBS jobs of 200 bytes, 1000 to a commit, then works
//! them off: claims GROUP in a commit that is not synced, ends them in one that is. A job is one row
//! that is found by its text id and by its place in the queue. One JSON line for each phase.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use rusqlite::Connection;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 4000;
    CREATE TABLE jobs (
        seq    INTEGER PRIMARY KEY,
        id     TEXT NOT NULL UNIQUE,
        args   BLOB NOT NULL,
        state  INTEGER NOT NULL,
        fence  INTEGER NOT NULL,
        ended  INTEGER,
        result TEXT
    );
    CREATE TABLE ready (seq INTEGER PRIMARY KEY);";

type Done = anyhow::Result<()>;

fn main() -> Done {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .context("usage: bare-sqlite FILE [JOBS] [GROUP]")?;
    let mut number = |standard: usize| args.next().map_or(Ok(standard), |text| text.parse());
    let (jobs, group) = (number(50_000)?, number(256)?);
    let db = Connection::open(path)?;
    db.execute_batch(SCHEMA)?;
    db.set_prepared_statement_cache_capacity(32);
    let from = Instant::now();
    submit(&db, jobs)?;
    print("submit", jobs, from);
    let from = Instant::now();
    work_off(&db, group)?;
    print("work_off", jobs, from);
    Ok(())
}

fn print(workload: &str, jobs: usize, from: Instant) {
    let seconds = from.elapsed().as_secs_f64();
    let rate = (jobs as f64 / seconds).round();
    println!(
        r#"{{"system":"bare","backend":"sqlite","workload":"{workload}","jobs":{jobs},"seconds":{seconds:.3},"jobs_per_s":{rate}}}"#
    );
}

fn submit(db: &Connection, jobs: usize) -> Done {
    let body = [b'.'; 200];
    for first in (0..jobs).step_by(1000) {
        begin(db, true)?;
        for _ in first..jobs.min(first + 1000) {
            let id = uuid::Uuid::now_v7().to_string();
            db.prepare_cached("INSERT INTO jobs (id, args, state, fence) VALUES (?1, ?2, 0, 0)")?
                .execute((id, &body[..]))?;
            db.prepare_cached("INSERT INTO ready (seq) VALUES (?1)")?
                .execute([db.last_insert_rowid()])?;
        }
        run(db, "COMMIT")?;
    }
    Ok(())
}

fn work_off(db: &Connection, group: usize) -> Done {
    let mut fence = 0;
    loop {
        begin(db, false)?;
        let taken = claim(db, group, &mut fence)?;
        run(db, "COMMIT")?;
        if taken.is_empty() {
            return Ok(());
        }
        begin(db, true)?;
        for (id, fence, result) in taken {
            end(db, &id, fence, &result)?;
        }
        run(db, "COMMIT")?;
    }
}

type Taken = Vec<(String, i64, String)>;

fn claim(db: &Connection, group: usize, fence: &mut i64) -> anyhow::Result<Taken> {
    let seqs: Vec<i64> = db
        .prepare_cached("SELECT seq FROM ready ORDER BY seq LIMIT ?1")?
        .query_map([i64::try_from(group)?], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut taken = Vec::with_capacity(seqs.len());
    for seq in seqs {
        *fence += 1;
        db.prepare_cached("DELETE FROM ready WHERE seq = ?1")?
            .execute([seq])?;
        let (id, args): (String, Vec<u8>) = db
            .prepare_cached(
                "UPDATE jobs SET state = 1, fence = ?2 WHERE seq = ?1 AND state = 0
                 RETURNING id, args",
            )?
            .query_row((seq, *fence), |row| Ok((row.get(0)?, row.get(1)?)))?;
        taken.push((id, *fence, args.len().to_string()));
    }
    Ok(taken)
}

fn end(db: &Connection, id: &str, fence: i64, result: &str) -> Done {
    let ended = db
        .prepare_cached(
            "UPDATE jobs SET state = 2, ended = ?3, result = ?4
             WHERE id = ?1 AND state = 1 AND fence = ?2",
        )?
        .execute((id, fence, 1_700_000_000_000_i64, result))?;
    ensure!(ended == 1, "the end of job {id} was refused");
    Ok(())
}

fn begin(db: &Connection, synced: bool) -> Done {
    run(
        db,
        if synced {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        },
    )?;
    run(db, "BEGIN IMMEDIATE")
}

fn run(db: &Connection, sql: &str) -> Done {
    db.prepare_cached(sql)?.execute([])?;
    Ok(())
}
