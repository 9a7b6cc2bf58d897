//! A record as the fields of a hash, and back.
//!
//! Nothing is ever deleted from a hash: fields that belong to a state are read in that state only,
//! and empty text stands for none. That saves a command on the way of every job.
//!
//! | field | holds |
//! |---|---|
//! | `spec` | JSON, opaque to the scripts |
//! | `digest`, `queue`, `batch`, `deadline`, `created` | copied out of it for the scripts |
//! | `state`, `attempt`, `fence`, `starts`, `crashes`, `cancel`, `started`, `error` | the life |
//! | `due`, `worker`, `began`, `finished`, `reason`, `result` | what belongs to the state |
//! | `progress`, `log`, `raw` | as they came |
//! | `a:<n>` | JSON of an ended attempt, in a ring of [`ATTEMPTS_KEPT`] |
//! | `saves` | how many fields the job has in `saved:<id>` |
//!
//! Times are milliseconds since the epoch.

use std::{borrow::Cow, collections::HashMap, fmt::Display, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    job::{ATTEMPTS_KEPT, Attempt, Fence, Outcome, Record, State, StateKind},
    life::{Life, Step},
    time::Timestamp,
};

/// What a list needs to know of a record.
pub(super) const LISTED: [&str; 17] = [
    "spec", "created", "state", "attempt", "fence", "starts", "crashes", "cancel", "started",
    "error", "due", "worker", "began", "finished", "reason", "result", "progress",
];

/// Names and values, ready for HSET.
pub(super) type Pairs = Vec<(Cow<'static, str>, Vec<u8>)>;

fn put(pairs: &mut Pairs, name: &'static str, value: impl Display) {
    pairs.push((Cow::Borrowed(name), value.to_string().into_bytes()));
}

fn put_json(pairs: &mut Pairs, name: impl Into<Cow<'static, str>>, value: &impl Serialize) {
    match serde_json::to_vec(value) {
        Ok(json) => pairs.push((name.into(), json)),
        // Plain structures of text and numbers: there is nothing in them that JSON cannot say.
        Err(error) => tracing::error!(%error, "a field of a record could not be written"),
    }
}

/// A whole record.
pub(super) fn write(record: &Record) -> Pairs {
    let Record { spec, life, .. } = record;
    let mut pairs = Vec::with_capacity(20);
    put_json(&mut pairs, "spec", spec);
    put(&mut pairs, "digest", spec.digest());
    put(&mut pairs, "queue", &spec.queue);
    put(&mut pairs, "created", record.created.as_millis());
    if let Some(batch) = &spec.batch {
        put(&mut pairs, "batch", batch);
    }
    if let Some(deadline) = spec.deadline {
        put(&mut pairs, "deadline", deadline.as_millis());
    }
    write_state(&mut pairs, life);
    write_counters(&mut pairs, life);
    if let Some(progress) = &record.progress {
        put_json(&mut pairs, "progress", progress);
    }
    if !record.log.is_empty() {
        put(&mut pairs, "log", &record.log);
    }
    if let Some(raw) = &record.raw {
        pairs.push((Cow::Borrowed("raw"), raw.clone()));
    }
    for (attempt, age) in record.attempts.iter().rev().zip(0..ATTEMPTS_KEPT) {
        let start = life.starts.wrapping_add(ATTEMPTS_KEPT).wrapping_sub(age);
        put_json(&mut pairs, slot(start), attempt);
    }
    pairs
}

/// What a step changes.
pub(super) fn write_step(step: &Step) -> Pairs {
    let mut pairs = Vec::with_capacity(14);
    write_state(&mut pairs, &step.life);
    // Only claims, redrives and repairs move these.
    if step.life.fence != step.from.fence || step.ended.is_none() {
        write_counters(&mut pairs, &step.life);
    }
    if let Some(attempt) = &step.ended {
        put_json(&mut pairs, slot(step.life.starts), attempt);
        // The log of a lost attempt has nowhere else to be.
        if attempt.outcome != Outcome::Lost || !attempt.log.is_empty() {
            put(&mut pairs, "log", "");
        }
    }
    pairs
}

fn slot(starts: u32) -> String {
    format!("a:{}", starts % ATTEMPTS_KEPT)
}

fn write_counters(pairs: &mut Pairs, life: &Life) {
    put(pairs, "fence", life.fence);
    put(pairs, "starts", life.starts);
    put(pairs, "cancel", u8::from(life.cancel_requested));
    if let Some(started) = life.started {
        put(pairs, "started", started.as_millis());
    }
}

fn write_state(pairs: &mut Pairs, life: &Life) {
    put(pairs, "state", life.state.kind());
    put(pairs, "attempt", life.attempt);
    put(pairs, "crashes", life.crashes);
    put(pairs, "error", life.error.as_deref().unwrap_or_default());
    match &life.state {
        State::Blocked | State::Queued => {}
        State::Scheduled { due } | State::Retrying { due } => put(pairs, "due", due.as_millis()),
        State::Running { worker, began } => {
            put(pairs, "worker", worker);
            put(pairs, "began", began.as_millis());
        }
        State::Succeeded { finished, result } => {
            put(pairs, "finished", finished.as_millis());
            put(pairs, "result", result.get());
        }
        State::Dead { finished, reason } => {
            put(pairs, "finished", finished.as_millis());
            put(pairs, "reason", reason);
        }
        State::Cancelled { finished } => put(pairs, "finished", finished.as_millis()),
    }
}

/// The fields of a hash as they came.
#[derive(Debug, Default)]
pub(super) struct Fields(HashMap<String, Vec<u8>>);

impl FromIterator<(String, Vec<u8>)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(pairs: I) -> Self {
        let mut fields: HashMap<_, _> = pairs.into_iter().collect();
        fields.retain(|name, value| !value.is_empty() || name == "raw");
        Self(fields)
    }
}

impl Fields {
    /// Reads the record; says what is wrong with it otherwise.
    pub(super) fn read(mut self) -> Result<Record, String> {
        let mut record = Record::new(
            self.json("spec")?.ok_or("it has no spec")?,
            self.life()?,
            self.need("created").map(Timestamp::from_millis)?,
        );
        record.progress = self.json("progress")?;
        record.log = self.text("log")?.unwrap_or_default();
        record.raw = self.0.remove("raw");
        record.attempts = self.attempts()?;
        Ok(record)
    }

    fn life(&mut self) -> Result<Life, String> {
        Ok(Life {
            state: self.state()?,
            attempt: self.need("attempt")?,
            fence: Fence(self.need("fence")?),
            starts: self.need("starts")?,
            crashes: self.need("crashes")?,
            cancel_requested: self.need::<u8>("cancel")? != 0,
            started: self.maybe("started")?.map(Timestamp::from_millis),
            error: self.text("error")?,
        })
    }

    fn state(&mut self) -> Result<State, String> {
        Ok(match self.need("state")? {
            StateKind::Blocked => State::Blocked,
            StateKind::Queued => State::Queued,
            StateKind::Scheduled => State::Scheduled {
                due: self.time("due")?,
            },
            StateKind::Retrying => State::Retrying {
                due: self.time("due")?,
            },
            StateKind::Running => State::Running {
                worker: self.need("worker")?,
                began: self.time("began")?,
            },
            StateKind::Succeeded => State::Succeeded {
                finished: self.time("finished")?,
                result: self.json("result")?.ok_or("it has no result")?,
            },
            StateKind::Dead => State::Dead {
                finished: self.time("finished")?,
                reason: self.need("reason")?,
            },
            StateKind::Cancelled => State::Cancelled {
                finished: self.time("finished")?,
            },
        })
    }

    fn attempts(&mut self) -> Result<Vec<Attempt>, String> {
        let mut attempts = Vec::new();
        for (name, value) in self.0.drain() {
            if name.starts_with("a:") {
                attempts.push(parse::<Attempt>(&name, &value)?);
            }
        }
        attempts.sort_by_key(|attempt| attempt.fence);
        Ok(attempts)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(bytes) = self.0.remove(name) else {
            return Ok(None);
        };
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| format!("{name} is not text"))
    }

    fn maybe<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error| format!("{name}: {error}"))
    }

    fn need<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.maybe(name)?.ok_or_else(|| format!("it has no {name}"))
    }

    fn time(&mut self, name: &str) -> Result<Timestamp, String> {
        self.need(name).map(Timestamp::from_millis)
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.0
            .remove(name)
            .map(|bytes| parse(name, &bytes))
            .transpose()
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests;
