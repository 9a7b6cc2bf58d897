//! What is done to jobs, each function within an open transaction.

use rusqlite::{OptionalExtension, Row};

use super::{
    fault::Fault,
    row::{self, Key, LifeRow, life_columns, signed},
    tally::Place,
    writer::Txn,
};
use crate::{
    job::{ATTEMPTS_KEPT, Attempt, Digest, Outcome, Record, Spec, State, StateKind},
    life::{EARLY_TOLERANCE, Life, expires},
    ports::{Applied, Change, Claim, Claimed, Created, Grant},
    time::Timestamp,
};

/// A record, ready to be written.
#[derive(Debug)]
pub(super) struct NewJob {
    record: Record,
    digest: Digest,
    spec: String,
    tags: Option<String>,
    progress: Option<String>,
}

impl NewJob {
    pub(super) fn new(record: Record) -> Result<Self, Fault> {
        let tags: Vec<&str> = record.spec.tags.iter().map(|tag| &**tag).collect();
        Ok(Self {
            digest: record.spec.digest(),
            spec: row::text(&record.spec)?,
            tags: (!tags.is_empty()).then(|| tags.join(",")),
            progress: record.progress.as_ref().map(row::text).transpose()?,
            record,
        })
    }

    pub(super) fn id(&self) -> &crate::job::JobId {
        &self.record.spec.id
    }

    pub(super) fn create(&self, txn: &Txn<'_>) -> Result<Created, Fault> {
        if !self.insert(txn)? {
            return self.compare(txn);
        }
        let seq = txn.db.last_insert_rowid();
        let Record {
            spec,
            life,
            raw,
            attempts,
            ..
        } = &self.record;
        txn.db
            .prepare_cached("INSERT INTO specs (seq, spec, raw) VALUES (?1, ?2, ?3)")?
            .execute((seq, &self.spec, raw))?;
        for (after, attempt) in attempts.iter().rev().enumerate() {
            let after = u32::try_from(after).unwrap_or(u32::MAX);
            keep_attempt(txn, seq, life.starts.wrapping_sub(after), attempt)?;
        }
        let place = Place {
            queue: &spec.queue,
            batch: spec.batch.as_deref(),
        };
        let state = life.state.kind();
        txn.tally
            .borrow_mut()
            .came(place, self.record.created, state);
        Ok(Created::New)
    }

    fn insert(&self, txn: &Txn<'_>) -> Result<bool, Fault> {
        const SQL: &str = const_sql();
        let Record { spec, life, .. } = &self.record;
        let mut insert = txn.db.prepare_cached(SQL)?;
        let values: [&dyn rusqlite::ToSql; 12] = [
            &&*spec.id,
            &self.digest.0.to_be_bytes(),
            &&*spec.task,
            &&*spec.queue,
            &(spec.lane as i64),
            &spec.batch.as_deref(),
            &self.tags,
            &self.record.created.as_millis(),
            &spec.deadline.map(Timestamp::as_millis),
            &expires(&self.record.spec, &self.record.life).map(Timestamp::as_millis),
            &self.progress,
            &self.record.log,
        ];
        for (index, value) in (1..).zip(values) {
            insert.raw_bind_parameter(index, value)?;
        }
        LifeRow::of(life).bind(&mut insert, 13)?;
        Ok(insert.raw_execute()? == 1)
    }

    fn compare(&self, txn: &Txn<'_>) -> Result<Created, Fault> {
        let mut look = txn
            .db
            .prepare_cached("SELECT digest, state FROM jobs WHERE id = ?1")?;
        let mut rows = look.query([&**self.id()])?;
        let Some(row) = rows.next()? else {
            return Err(Fault::corrupt("jobs", "an id is there and is not"));
        };
        if row.get::<_, [u8; 16]>(0)? != self.digest.0.to_be_bytes() {
            return Ok(Created::Conflict);
        }
        row::word(row, 1).map(Created::Same)
    }
}

const fn const_sql() -> &'static str {
    "INSERT INTO jobs (id, digest, task, queue, lane, batch, tags, created, deadline, expires,
         progress, log, state, attempt, fence, starts, crashes, cancel, due, worker, began,
         started, finished, reason, error, result)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
         ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26)
     ON CONFLICT (id) DO NOTHING"
}

/// What a claim looks at.
struct Claimable {
    seq: i64,
    queue: String,
    batch: Option<String>,
    from: StateKind,
    created: Timestamp,
    life: Life,
}

/// Grants the claim if it can be, at the time that is `now` in milliseconds and microseconds.
pub(super) fn claim(
    txn: &Txn<'_>,
    claim: &Claim,
    now: Timestamp,
    micros: u64,
) -> Result<Claimed, Fault> {
    let mut found = look(txn, claim, now)?;
    if found.is_none()
        && let Some(record) = &claim.record
    {
        NewJob::new(Record::clone(record))?.create(txn)?;
        found = look(txn, claim, now)?;
    }
    let Some(found) = found else {
        return Ok(Claimed::Missing);
    };
    let Some(Claimable {
        seq,
        queue,
        batch,
        from,
        created,
        mut life,
    }) = found
    else {
        let held = row::record(txn.db, Key::Id(&claim.id), false)?;
        return Ok(held.map_or(Claimed::Missing, |record| Claimed::Held(Box::new(record))));
    };
    life.state = State::Running {
        worker: claim.worker.clone(),
        began: now,
    };
    life.fence = life.fence.next(micros);
    life.starts += 1;
    life.cancel_requested = false;
    life.started = life.started.or(Some(now));
    txn.db
        .prepare_cached(
            "UPDATE jobs SET state = 'running', fence = ?2, starts = starts + 1, cancel = 0,
                 worker = ?3, began = ?4, started = ?5, due = NULL, log = ''
             WHERE seq = ?1",
        )?
        .execute((
            seq,
            signed(life.fence),
            &*claim.worker,
            now.as_millis(),
            life.started.map(Timestamp::as_millis),
        ))?;
    let place = Place {
        queue: &queue,
        batch: batch.as_deref(),
    };
    txn.tally
        .borrow_mut()
        .moved(place, Some(from), Some(StateKind::Running));
    Ok(Claimed::Granted(Grant { life, created }))
}

/// Nothing where there is no record; within, nothing where it cannot be granted as it is.
fn look(txn: &Txn<'_>, claim: &Claim, now: Timestamp) -> Result<Option<Option<Claimable>>, Fault> {
    let mut look = txn.db.prepare_cached(concat!(
        "SELECT seq, queue, digest, created, deadline, due, attempt, batch, ",
        life_columns!(),
        " FROM jobs WHERE id = ?1"
    ))?;
    let read = |row: &Row<'_>| Ok(claimable(row, claim, now));
    look.query_row([&*claim.id], read).optional()?.transpose()
}

/// The columns of [`look`], by their places.
fn claimable(row: &Row<'_>, claim: &Claim, now: Timestamp) -> Result<Option<Claimable>, Fault> {
    const LIFE: usize = 8;
    let from: StateKind = row::word(row, LIFE)?;
    let early: Option<i64> = row.get(5)?;
    let deadline: Option<i64> = row.get(4)?;
    let is_claimable = from.is_claimable()
        && row.get::<_, u32>(6)? == claim.attempt
        && row.get::<_, [u8; 16]>(2)? == claim.digest.0.to_be_bytes()
        && early.is_none_or(|due| due <= (now + EARLY_TOLERANCE).as_millis())
        && deadline.is_none_or(|deadline| now.as_millis() < deadline);
    if !is_claimable {
        return Ok(None);
    }
    Ok(Some(Claimable {
        seq: row.get(0)?,
        queue: row.get(1)?,
        batch: row.get(7)?,
        from,
        created: Timestamp::from_millis(row.get(3)?),
        life: row::life(row, LIFE)?,
    }))
}

/// Applies the step, if the job is still where it was made from.
pub(super) fn apply(txn: &Txn<'_>, change: &Change) -> Result<Applied, Fault> {
    let Some(Found {
        seq,
        queue,
        batch,
        log,
    }) = still_there(txn, change)?
    else {
        let now_at = row::record(txn.db, Key::Id(&change.id), false)?;
        return Ok(now_at.map_or(Applied::Missing, |record| {
            Applied::Superseded(Box::new(record))
        }));
    };
    update(txn, seq, change)?;
    if let Some(edit) = &change.edit {
        rewrite(txn, seq, &edit.spec)?;
    }
    let step = &change.step;
    if let Some(ended) = &step.ended {
        end_attempt(txn, seq, step.life.starts, ended, log)?;
    }
    let to = step.life.state.kind();
    if step.from.state != to {
        let place = Place {
            queue: &queue,
            batch: batch.as_deref(),
        };
        txn.tally
            .borrow_mut()
            .moved(place, Some(step.from.state), Some(to));
    }
    Ok(Applied::Done)
}

/// What a change needs to know of its job.
struct Found {
    seq: i64,
    queue: String,
    batch: Option<String>,
    log: String,
}

/// A look of its own costs far less than a `RETURNING`, for which SQLite makes a temporary table
/// each time.
fn still_there(txn: &Txn<'_>, change: &Change) -> Result<Option<Found>, Fault> {
    let from = &change.step.from;
    let mut look = txn.db.prepare_cached(
        "SELECT seq, queue, batch, log FROM jobs
         WHERE id = ?1 AND state = ?2 AND attempt = ?3 AND fence = ?4 AND cancel = ?5",
    )?;
    let found = look.query_row(
        (
            &*change.id,
            from.state.as_str(),
            from.attempt,
            signed(from.fence),
            from.cancel_requested,
        ),
        |row| {
            Ok(Found {
                seq: row.get(0)?,
                queue: row.get(1)?,
                batch: row.get(2)?,
                log: row.get(3)?,
            })
        },
    );
    Ok(found.optional()?)
}

fn update(txn: &Txn<'_>, seq: i64, change: &Change) -> Result<(), Fault> {
    let mut update = txn.db.prepare_cached(
        "UPDATE jobs SET expires = ?2, state = ?3, attempt = ?4, fence = ?5, starts = ?6,
             crashes = ?7, cancel = ?8, due = ?9, worker = ?10, began = ?11, started = ?12,
             finished = ?13, reason = ?14, error = ?15, result = ?16
         WHERE seq = ?1",
    )?;
    update.raw_bind_parameter(1, seq)?;
    update.raw_bind_parameter(2, change.expires.map(Timestamp::as_millis))?;
    LifeRow::of(&change.step.life).bind(&mut update, 3)?;
    update.raw_execute()?;
    Ok(())
}

/// Writes what is asked for anew; what was saved for other arguments is forgotten.
fn rewrite(txn: &Txn<'_>, seq: i64, spec: &Spec) -> Result<(), Fault> {
    txn.db
        .prepare_cached("UPDATE jobs SET digest = ?2 WHERE seq = ?1")?
        .execute((seq, spec.digest().0.to_be_bytes()))?;
    txn.db
        .prepare_cached("UPDATE specs SET spec = ?2 WHERE seq = ?1")?
        .execute((seq, row::text(spec)?))?;
    txn.db
        .prepare_cached("DELETE FROM saves WHERE seq = ?1")?
        .execute([seq])?;
    Ok(())
}

/// Keeps the attempt with its log, or, where it could not bring one, with what it `noted` while it
/// ran. A lost one's log also stays where the running one's was.
fn end_attempt(
    txn: &Txn<'_>,
    seq: i64,
    starts: u32,
    ended: &Attempt,
    noted: String,
) -> Result<(), Fault> {
    if noted.is_empty() {
        return keep_attempt(txn, seq, starts, ended);
    }
    let mut ended = ended.clone();
    if ended.log.is_empty() {
        ended.log = noted;
    }
    keep_attempt(txn, seq, starts, &ended)?;
    if ended.outcome != Outcome::Lost {
        txn.db
            .prepare_cached("UPDATE jobs SET log = '' WHERE seq = ?1")?
            .execute([seq])?;
    }
    Ok(())
}

fn keep_attempt(txn: &Txn<'_>, seq: i64, starts: u32, attempt: &Attempt) -> Result<(), Fault> {
    txn.db
        .prepare_cached("INSERT OR REPLACE INTO attempts (seq, slot, attempt) VALUES (?1, ?2, ?3)")?
        .execute((seq, starts % ATTEMPTS_KEPT, row::text(attempt)?))?;
    Ok(())
}

/// Forgets up to `limit` jobs whose time is over.
pub(super) fn expire(txn: &Txn<'_>, now: Timestamp, limit: i64) -> Result<usize, Fault> {
    let mut due = txn.db.prepare_cached(
        "SELECT seq, queue, state, batch FROM jobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2",
    )?;
    let mut rows = due.query((now.as_millis(), limit))?;
    let mut over: Vec<i64> = Vec::new();
    while let Some(row) = rows.next()? {
        let queue = row
            .get_ref("queue")?
            .as_str()
            .map_err(rusqlite::Error::from)?;
        let state = row::word(row, 2)?;
        let batch = row.get_ref("batch")?.as_str_or_null();
        let place = Place {
            queue,
            batch: batch.map_err(rusqlite::Error::from)?,
        };
        txn.tally.borrow_mut().moved(place, Some(state), None);
        over.push(row.get("seq")?);
    }
    for seq in &over {
        for table in ["jobs", "specs", "attempts", "saves"] {
            txn.db
                .prepare_cached(&format!("DELETE FROM {table} WHERE seq = ?1"))?
                .execute([seq])?;
        }
    }
    Ok(over.len())
}
