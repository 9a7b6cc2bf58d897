//! Records as rows, and back.

use std::{fmt::Display, str::FromStr};

use rusqlite::{Connection, OptionalExtension, Row, types::FromSql};
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::{
    job::{Attempt, Fence, Json, Record, State, StateKind},
    life::Life,
    time::Timestamp,
};

/// The columns that [`life`] reads, in this order: `rusqlite` finds a column by its name only by
/// asking for the names of all before it, each time.
macro_rules! life_columns {
    () => {
        "state, attempt, fence, starts, crashes, cancel, due, worker, began, started, finished, \
         reason, error, result"
    };
}
pub(super) use life_columns;

const LIFE_COLUMNS: usize = 14;

/// A fence as SQLite keeps numbers.
pub(super) fn signed(fence: Fence) -> i64 {
    i64::try_from(fence.0).unwrap_or(i64::MAX)
}

/// A word or a name in a column.
pub(super) fn word<T: FromStr<Err: Display>>(row: &Row<'_>, at: usize) -> Result<T, Fault> {
    let text = row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
    text?.parse().map_err(|error| corrupt(row, at, error))
}

fn corrupt(row: &Row<'_>, at: usize, why: impl Display) -> Fault {
    Fault::corrupt(row.as_ref().column_name(at).unwrap_or("?"), why)
}

fn needed<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, Fault> {
    row.get::<_, Option<T>>(at)?
        .ok_or_else(|| corrupt(row, at, "its state needs it, and it is empty"))
}

fn time(row: &Row<'_>, at: usize) -> Result<Timestamp, Fault> {
    needed(row, at).map(Timestamp::from_millis)
}

/// JSON text as any value.
pub(super) fn parse<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::corrupt(what, error))
}

/// Any value as JSON text.
pub(super) fn text<T: serde::Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value)
        .map_err(|error| Fault::failed(format!("it cannot be written as JSON: {error}")))
}

/// Where a job is, from [`life_columns`], which begin at `first`.
pub(super) fn life(row: &Row<'_>, first: usize) -> Result<Life, Fault> {
    Ok(Life {
        state: state(row, first)?,
        attempt: row.get(first + 1)?,
        fence: Fence(row.get::<_, i64>(first + 2)?.unsigned_abs()),
        starts: row.get(first + 3)?,
        crashes: row.get(first + 4)?,
        cancel_requested: row.get(first + 5)?,
        started: row
            .get::<_, Option<i64>>(first + 9)?
            .map(Timestamp::from_millis),
        error: row.get(first + 12)?,
    })
}

fn state(row: &Row<'_>, first: usize) -> Result<State, Fault> {
    let finished = || time(row, first + 10);
    Ok(match word::<StateKind>(row, first)? {
        StateKind::Blocked => State::Blocked,
        StateKind::Queued => State::Queued,
        StateKind::Scheduled => State::Scheduled {
            due: time(row, first + 6)?,
        },
        StateKind::Retrying => State::Retrying {
            due: time(row, first + 6)?,
        },
        StateKind::Running => State::Running {
            worker: word(row, first + 7)?,
            began: time(row, first + 8)?,
        },
        StateKind::Succeeded => State::Succeeded {
            finished: finished()?,
            result: parse("result", &needed::<String>(row, first + 13)?)?,
        },
        StateKind::Dead => State::Dead {
            finished: finished()?,
            reason: word(row, first + 11)?,
        },
        StateKind::Cancelled => State::Cancelled {
            finished: finished()?,
        },
    })
}

/// A life as the values of [`life_columns`].
pub(super) struct LifeRow<'a> {
    life: &'a Life,
}

impl<'a> LifeRow<'a> {
    pub(super) const fn of(life: &'a Life) -> Self {
        Self { life }
    }

    /// Binds to the parameters from `first` on.
    pub(super) fn bind(
        &self,
        to: &mut rusqlite::CachedStatement<'_>,
        first: usize,
    ) -> rusqlite::Result<()> {
        let Life { state, .. } = self.life;
        let began = match state {
            State::Running { began, .. } => Some(began.as_millis()),
            _ => None,
        };
        let result: Option<&Json> = match state {
            State::Succeeded { result, .. } => Some(result),
            _ => None,
        };
        let worker = state.worker().map(|worker| &**worker);
        let values: [&dyn rusqlite::ToSql; LIFE_COLUMNS] = [
            &state.kind().as_str(),
            &self.life.attempt,
            &signed(self.life.fence),
            &self.life.starts,
            &self.life.crashes,
            &self.life.cancel_requested,
            &state.due().map(Timestamp::as_millis),
            &worker,
            &began,
            &self.life.started.map(Timestamp::as_millis),
            &state.finished().map(Timestamp::as_millis),
            &state.reason().map(crate::job::Reason::as_str),
            &self.life.error,
            &result.map(|result| result.get()),
        ];
        for (offset, value) in values.into_iter().enumerate() {
            to.raw_bind_parameter(first + offset, value)?;
        }
        Ok(())
    }
}

/// The whole record of a job; `lean` leaves attempts and raw bytes out.
pub(super) fn record(db: &Connection, key: Key<'_>, lean: bool) -> Result<Option<Record>, Fault> {
    let (column, value): (_, &dyn rusqlite::ToSql) = match &key {
        Key::Id(id) => ("id", id),
        Key::Seq(seq) => ("seq", seq),
    };
    let raw = if lean { "NULL" } else { "specs.raw" };
    let sql = format!(
        "SELECT jobs.seq, spec, {raw} AS raw, created, progress, log, {}
         FROM jobs JOIN specs ON specs.seq = jobs.seq WHERE jobs.{column} = ?1",
        life_columns!()
    );
    let mut look = db.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| Ok(read_record(row));
    let Some(found) = look.query_row([value], read).optional()? else {
        return Ok(None);
    };
    let (seq, mut record) = found?;
    if matches!(key, Key::Id(id) if *id != *record.spec.id) {
        return Err(Fault::corrupt("spec", "it is another job's"));
    }
    if !lean {
        record.attempts = attempts(db, seq)?;
    }
    Ok(Some(record))
}

/// How a job is named.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    Id(&'a str),
    Seq(i64),
}

fn read_record(row: &Row<'_>) -> Result<(i64, Record), Fault> {
    let spec = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from);
    let progress: Option<String> = row.get(4)?;
    let record = Record {
        spec: parse("spec", spec?)?,
        life: life(row, 6)?,
        created: time(row, 3)?,
        progress: progress.map(|text| parse("progress", &text)).transpose()?,
        log: row.get(5)?,
        attempts: Vec::new(),
        raw: row.get(2)?,
    };
    Ok((row.get(0)?, record))
}

fn attempts(db: &Connection, seq: i64) -> Result<Vec<Attempt>, Fault> {
    let mut look = db.prepare_cached("SELECT attempt FROM attempts WHERE seq = ?1")?;
    let mut rows = look.query([seq])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from);
        attempts.push(parse::<Attempt>("attempt", text?)?);
    }
    // Slots are used again, so their order is not that of time; fences are.
    attempts.sort_by_key(|attempt| attempt.fence);
    Ok(attempts)
}
