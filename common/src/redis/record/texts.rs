//! The two fields that scripts read: tokens in a fixed order, with a bar between. No token can hold
//! one; empty stands for none.
//!
//! `meta`, what never changes: digest, queue, created, deadline, batch.
//!
//! `head`, where the job is in its life. The part that a compare-and-set compares comes first:
//! state, attempt, fence, cancel, starts, crashes, started, error, when, what. `error` says whether
//! the field of that name counts; `when` is the time that the state has (due, began or finished),
//! and `what` its worker or its reason.

use std::{
    fmt::{Display, Write},
    str::FromStr,
};

use crate::{
    job::{Fence, Json, Record, State, StateKind, WorkerId},
    life::{Life, Version},
    time::Timestamp,
};

const BAR: char = '|';

fn put(text: &mut String, token: impl Display) {
    // Text takes whatever is written to it.
    let _ = write!(text, "{token}{BAR}");
}

fn put_time(text: &mut String, time: Option<Timestamp>) {
    match time {
        Some(time) => put(text, time.as_millis()),
        None => text.push(BAR),
    }
}

pub(super) fn meta(record: &Record) -> String {
    let spec = &record.spec;
    let mut text = String::with_capacity(160);
    put(&mut text, spec.digest());
    put(&mut text, &spec.queue);
    put_time(&mut text, Some(record.created));
    put_time(&mut text, spec.deadline);
    text.push_str(spec.batch.as_deref().unwrap_or_default());
    text
}

pub(super) fn head(life: &Life) -> String {
    let mut text = version(&life.version());
    put(&mut text, life.starts);
    put(&mut text, life.crashes);
    put_time(&mut text, life.started);
    put(&mut text, u8::from(life.error.is_some()));
    let (when, what) = match &life.state {
        State::Blocked | State::Queued => (None, ""),
        State::Scheduled { due } | State::Retrying { due } => (Some(*due), ""),
        State::Running { worker, began } => (Some(*began), &**worker),
        State::Succeeded { finished, .. } | State::Cancelled { finished } => (Some(*finished), ""),
        State::Dead { finished, reason } => (Some(*finished), reason.as_str()),
    };
    put_time(&mut text, when);
    text.push_str(what);
    text
}

/// How a head begins at this version.
pub(in crate::redis) fn version(version: &Version) -> String {
    let mut text = String::with_capacity(160);
    put(&mut text, version.state);
    put(&mut text, version.attempt);
    put(&mut text, version.fence);
    put(&mut text, u8::from(version.cancel_requested));
    text
}

/// When the job was first known.
pub(super) fn created(meta: &str) -> Result<Timestamp, String> {
    let mut tokens = Tokens(meta.split(BAR));
    tokens.text("digest")?;
    tokens.text("queue")?;
    tokens.time("created")
}

/// Who runs the job, if it runs.
pub(in crate::redis) fn worker(head: &str) -> Option<WorkerId> {
    let life = life(head, None, None).ok()?;
    life.state.worker().cloned()
}

/// A life, of its head and the fields of their own. A missing result is JSON's null.
pub(in crate::redis) fn life(
    head: &str,
    error: Option<String>,
    result: Option<Json>,
) -> Result<Life, String> {
    let mut tokens = Tokens(head.split(BAR));
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

struct Tokens<'a>(std::str::Split<'a, char>);

impl<'a> Tokens<'a> {
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
                result: result.unwrap_or_else(|| serde_json::value::RawValue::NULL.to_owned()),
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
