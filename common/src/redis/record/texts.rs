//! Fields of tokens in a fixed order, with a bar between. No token can hold one; empty stands for
//! none. Scripts read the first two.
//!
//! `meta`, what only an edit changes: queue, created, batch, digest, deadline.
//!
//! `head`, where the job is in its life. The part that a compare-and-set compares comes first:
//! state, attempt, fence, cancel, starts, crashes, started, error, when, what. `error` says whether
//! the field of that name counts; `when` is the time that the state has (due, began or finished),
//! and `what` its worker, its reason, or its result if that is short.
//!
//! `a:<n>`, an ended attempt: number, fence, worker, started, finished, outcome, and a JSON array of
//! error and log, if it has any.

use std::{fmt::Display, str::FromStr};

use crate::{
    job::{Attempt, Fence, Json, Spec, State, StateKind, WorkerId},
    life::{Life, Version},
    time::Timestamp,
};

const BAR: char = '|';
/// Tokens of a head.
const HEAD: usize = 10;
/// Tokens of an attempt.
const ATTEMPT: usize = 7;
/// A longer result has a field of its own, so that a head stays short.
const SHORT: usize = 64;

fn put(text: &mut String, token: &str) {
    text.push_str(token);
    text.push(BAR);
}

fn put_number(text: &mut String, number: impl itoa::Integer) {
    put(text, itoa::Buffer::new().format(number));
}

fn put_time(text: &mut String, time: Option<Timestamp>) {
    match time {
        Some(time) => put_number(text, time.as_millis()),
        None => text.push(BAR),
    }
}

pub(super) fn meta(spec: &Spec, created: Timestamp) -> String {
    let mut text = String::with_capacity(160);
    put(&mut text, &spec.queue);
    put_time(&mut text, Some(created));
    put(&mut text, spec.batch.as_deref().unwrap_or_default());
    put(&mut text, &spec.digest().to_string());
    if let Some(deadline) = spec.deadline {
        text.push_str(itoa::Buffer::new().format(deadline.as_millis()));
    }
    text
}

pub(super) fn head(life: &Life) -> String {
    let mut text = version(&life.version());
    put_number(&mut text, life.starts);
    put_number(&mut text, life.crashes);
    put_time(&mut text, life.started);
    put_number(&mut text, u8::from(life.error.is_some()));
    let (when, what) = match &life.state {
        State::Blocked | State::Queued => (None, ""),
        State::Scheduled { due } | State::Retrying { due } => (Some(*due), ""),
        State::Running { worker, began } => (Some(*began), &**worker),
        State::Succeeded { finished, result } => (Some(*finished), short(result).unwrap_or("")),
        State::Cancelled { finished } => (Some(*finished), ""),
        State::Dead { finished, reason } => (Some(*finished), reason.as_str()),
    };
    put_time(&mut text, when);
    text.push_str(what);
    text
}

/// A result that has room in the head. Being last there, it may hold bars.
pub(super) fn short(result: &Json) -> Option<&str> {
    Some(result.get()).filter(|text| text.len() <= SHORT)
}

/// How a head begins at this version.
pub(in crate::redis) fn version(version: &Version) -> String {
    let mut text = String::with_capacity(160);
    put(&mut text, version.state.as_str());
    put_number(&mut text, version.attempt);
    put_number(&mut text, version.fence.0);
    put_number(&mut text, u8::from(version.cancel_requested));
    text
}

pub(super) fn attempt(attempt: &Attempt) -> String {
    let mut text = String::with_capacity(160);
    put_number(&mut text, attempt.number);
    put_number(&mut text, attempt.fence.0);
    put(&mut text, &attempt.worker);
    put_time(&mut text, Some(attempt.started));
    put_time(&mut text, Some(attempt.finished));
    put(&mut text, attempt.outcome.as_str());
    if attempt.error.is_some() || !attempt.log.is_empty() {
        // Plain text: there is nothing in it that JSON cannot say.
        let said = serde_json::to_string(&(&attempt.error, &attempt.log));
        text.push_str(&said.unwrap_or_default());
    }
    text
}

pub(super) fn read_attempt(text: &str) -> Result<Attempt, String> {
    let mut tokens = Tokens(text.splitn(ATTEMPT, BAR));
    let mut attempt = Attempt {
        number: tokens.need("number")?,
        fence: Fence(tokens.need("fence")?),
        worker: tokens.need("worker")?,
        started: tokens.time("started")?,
        finished: tokens.time("finished")?,
        outcome: tokens.need("outcome")?,
        error: None,
        log: String::new(),
    };
    let said = tokens.text("log")?;
    if !said.is_empty() {
        (attempt.error, attempt.log) =
            serde_json::from_str(said).map_err(|error| error.to_string())?;
    }
    Ok(attempt)
}

/// When the job was first known.
pub(super) fn created(meta: &str) -> Result<Timestamp, String> {
    let mut tokens = Tokens(meta.split(BAR));
    tokens.text("queue")?;
    tokens.time("created")
}

/// Who runs the job, if it runs.
pub(in crate::redis) fn worker(head: &str) -> Option<WorkerId> {
    let life = life(head, None, None).ok()?;
    life.state.worker().cloned()
}

/// When a job that waits for its time may start.
pub(in crate::redis) fn due(head: &str) -> Option<Timestamp> {
    let life = life(head, None, None).ok()?;
    life.state.due()
}

/// A life, of its head and the fields of their own.
pub(in crate::redis) fn life(
    head: &str,
    error: Option<String>,
    result: Option<Json>,
) -> Result<Life, String> {
    let mut tokens = Tokens(head.splitn(HEAD, BAR));
    let kind = tokens.need("state")?;
    // In their order.
    Ok(Life {
        attempt: tokens.need("attempt")?,
        fence: Fence(tokens.need("fence")?),
        cancel_requested: tokens.flag("cancel")?,
        starts: tokens.need("starts")?,
        crashes: tokens.need("crashes")?,
        started: tokens.maybe("started")?.map(Timestamp::from_millis),
        error: if tokens.flag("error")? { error } else { None },
        state: tokens.state(kind, result)?,
    })
}

struct Tokens<I>(I);

impl<'a, I: Iterator<Item = &'a str>> Tokens<I> {
    fn text(&mut self, name: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("it has no {name}"))
    }

    fn maybe<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        match self.text(name)? {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|error| format!("{name}: {error}")),
        }
    }

    fn need<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.maybe(name)?.ok_or_else(|| format!("it has no {name}"))
    }

    fn maybe_json(&mut self, name: &str) -> Result<Option<Json>, String> {
        match self.text(name)? {
            "" => Ok(None),
            text => serde_json::from_str(text)
                .map(Some)
                .map_err(|error| format!("{name}: {error}")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        Ok(self.text(name)? == "1")
    }

    fn time(&mut self, name: &str) -> Result<Timestamp, String> {
        self.need(name).map(Timestamp::from_millis)
    }

    fn state(&mut self, kind: StateKind, result: Option<Json>) -> Result<State, String> {
        Ok(match kind {
            StateKind::Blocked => State::Blocked,
            StateKind::Queued => State::Queued,
            StateKind::Scheduled => State::Scheduled {
                due: self.time("due")?,
            },
            StateKind::Retrying => State::Retrying {
                due: self.time("due")?,
            },
            StateKind::Running => State::Running {
                began: self.time("began")?,
                worker: self.need("worker")?,
            },
            StateKind::Succeeded => State::Succeeded {
                finished: self.time("finished")?,
                result: match (self.maybe_json("result")?, result) {
                    (Some(short), _) => short,
                    (None, Some(long)) => long,
                    (None, None) => return Err("it has no result".to_owned()),
                },
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
}
