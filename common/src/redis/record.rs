//! A record as the fields of a hash, and back.
//!
//! Few fields, for each costs the server time and memory with every job: two texts of tokens that
//! the scripts read, and fields of their own for what is large or rare. Nothing is ever deleted from
//! a hash. A field counts only where the head says so, and empty text stands for none: that saves a
//! command on the way of every job.
//!
//! | field | holds |
//! |---|---|
//! | `spec` | JSON, opaque to the scripts |
//! | `meta`, `head` | what never changes, and where it is in its life, see [`texts`] |
//! | `error` | what went wrong last, if `head` says that something did |
//! | `result` | of a job that succeeded, unless `head` has room for it |
//! | `progress`, `raw` | as they came |
//! | `log` | the fence of the attempt that wrote it, a bar, and the text |
//! | `a:<n>` | an ended attempt, in a ring of [`ATTEMPTS_KEPT`] |
//!
//! Times are milliseconds since the epoch.

mod texts;

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::texts::{due, life, version, worker};
use crate::{
    job::{ATTEMPTS_KEPT, Attempt, Fence, Outcome, Record, Spec, State},
    life::{Life, Step},
    ports::Edit,
};

/// What a list needs to know of a record.
pub(super) const LISTED: [&str; 6] = ["spec", "meta", "head", "error", "result", "progress"];

/// A name and its value.
pub(super) type Pair = (Cow<'static, str>, Vec<u8>);
/// Ready for HSET.
type Pairs = Vec<Pair>;

fn put(pairs: &mut Pairs, name: &'static str, value: impl Into<Vec<u8>>) {
    pairs.push((Cow::Borrowed(name), value.into()));
}

fn put_json(pairs: &mut Pairs, name: &'static str, value: &impl Serialize, room: usize) {
    let mut json = Vec::with_capacity(room);
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => put(pairs, name, json),
        // Plain structures of text and numbers: there is nothing in them that JSON cannot say.
        Err(error) => tracing::error!(%error, "a field of a record could not be written"),
    }
}

fn put_spec(pairs: &mut Pairs, spec: &Spec) {
    put_json(pairs, "spec", spec, spec.args.get().len() + 256);
}

/// What a written record begins with.
pub(super) const FIRST: [&str; 3] = ["meta", "spec", "head"];

/// A whole record, [`FIRST`] first.
pub(super) fn write(record: &Record) -> Pairs {
    let Record { spec, life, .. } = record;
    let mut pairs = Vec::with_capacity(4);
    put(&mut pairs, "meta", texts::meta(spec, record.created));
    put_spec(&mut pairs, spec);
    write_life(&mut pairs, life);
    if let Some(progress) = &record.progress {
        put_json(&mut pairs, "progress", progress, 64);
    }
    if !record.log.is_empty() {
        put(&mut pairs, "log", log(life.fence, &record.log));
    }
    if let Some(raw) = &record.raw {
        put(&mut pairs, "raw", raw.as_slice());
    }
    for (attempt, age) in record.attempts.iter().rev().zip(0..ATTEMPTS_KEPT) {
        let start = life.starts.wrapping_add(ATTEMPTS_KEPT).wrapping_sub(age);
        pairs.push((slot(start), texts::attempt(attempt).into_bytes()));
    }
    pairs
}

/// What an edit changes.
pub(super) fn write_edit(edit: &Edit) -> Pairs {
    let mut pairs = Vec::with_capacity(2);
    put(&mut pairs, "meta", texts::meta(&edit.spec, edit.created));
    put_spec(&mut pairs, &edit.spec);
    pairs
}

/// What a step changes.
pub(super) fn write_step(step: &Step) -> Pairs {
    let mut pairs = Vec::with_capacity(4);
    write_life(&mut pairs, &step.life);
    if let Some(attempt) = &step.ended {
        let text = texts::attempt(attempt);
        pairs.push((slot(step.life.starts), text.into_bytes()));
        // What no longer counts is not kept twice. Elsewhere it is most likely not there at all.
        if !attempt.log.is_empty() {
            put(&mut pairs, "log", "");
        }
        if step.life.starts > 1 && step.life.error.is_none() {
            put(&mut pairs, "error", "");
        }
    }
    pairs
}

fn slot(starts: u32) -> Cow<'static, str> {
    Cow::Owned(format!("a:{}", starts % ATTEMPTS_KEPT))
}

fn write_life(pairs: &mut Pairs, life: &Life) {
    put(pairs, "head", texts::head(life));
    if let Some(error) = &life.error {
        put(pairs, "error", error.as_str());
    }
    if let State::Succeeded { result, .. } = &life.state
        && texts::short(result).is_none()
    {
        put(pairs, "result", result.get());
    }
}

/// A log as it is kept, with the fence of its attempt.
pub(super) fn log(fence: Fence, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("{fence}|{text}")
}

/// The log, unless its attempt, or one after it, ended: what was logged is then part of that. A lost
/// attempt could not say; its log has nowhere else to be.
fn last_log(kept: &str, attempts: &[Attempt]) -> Option<String> {
    let (fence, text) = kept.split_once('|')?;
    let fence = Fence(fence.parse().ok()?);
    let said = |attempt: &Attempt| attempt.outcome != Outcome::Lost || !attempt.log.is_empty();
    let over = attempts
        .iter()
        .any(|attempt| attempt.fence >= fence && said(attempt));
    (!over).then(|| text.to_owned())
}

/// The fields of a hash as they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Pairs);

impl FromIterator<Pair> for Fields {
    fn from_iter<I: IntoIterator<Item = Pair>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Fields {
    /// Reads the record; says what is wrong with it otherwise.
    pub(super) fn read(mut self) -> Result<Record, String> {
        let spec = self.json("spec")?.ok_or("it has no spec")?;
        let head = self.need("head")?;
        let life = texts::life(&head, self.text("error")?, self.json("result")?)?;
        let mut record = Record::new(spec, life, texts::created(&self.need("meta")?)?);
        record.progress = self.json("progress")?;
        record.raw = self.take("raw");
        record.attempts = self.attempts()?;
        if let Some(kept) = self.text("log")? {
            record.log = last_log(&kept, &record.attempts).unwrap_or_default();
        }
        Ok(record)
    }

    fn attempts(&self) -> Result<Vec<Attempt>, String> {
        let kept = self.0.iter().filter(|(name, _)| name.starts_with("a:"));
        let read = |(name, value): &Pair| {
            let text = str::from_utf8(value).map_err(|error| error.to_string());
            text.and_then(texts::read_attempt)
                .map_err(|why| format!("{name}: {why}"))
        };
        let mut attempts = kept.map(read).collect::<Result<Vec<_>, _>>()?;
        attempts.sort_by_key(|attempt| attempt.fence);
        Ok(attempts)
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Empty stands for none.
    fn filled(&mut self, name: &str) -> Option<Vec<u8>> {
        self.take(name).filter(|value| !value.is_empty())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.filled(name)
            .map(|bytes| String::from_utf8(bytes).map_err(|_| format!("{name} is not text")))
            .transpose()
    }

    fn need(&mut self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("it has no {name}"))
    }

    fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.filled(name)
            .map(|bytes| parse(name, &bytes))
            .transpose()
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests;
