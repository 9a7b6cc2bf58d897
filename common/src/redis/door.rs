//! Lets tests in to what reads replies. Only there with the feature `faults`.

use ::redis::Value;

use super::{check, list, record, reply, scripts};
use crate::{job::Record, ports::Finding};

/// What a reply can be read as.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Answer to a claim.
    Claimed,
    /// Answer to a change.
    Applied,
    /// Answer to a heartbeat.
    Pulse,
    /// Answer to a record that was to be created.
    Created,
    /// Answer to a note or a save.
    Kept,
    /// What a job saved.
    Saved,
    /// A record.
    Record,
    /// A record as lists have it.
    Listed,
    /// Versions of a script.
    Scripts,
    /// How far a batch is.
    Tallied,
    /// A number.
    Number,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Claimed,
        Self::Applied,
        Self::Pulse,
        Self::Created,
        Self::Kept,
        Self::Saved,
        Self::Record,
        Self::Listed,
        Self::Scripts,
        Self::Tallied,
        Self::Number,
    ];
}

/// Reads a reply, and tells what it says.
///
/// # Errors
/// When it cannot be read.
pub fn read(shape: Shape, reply: Value) -> Result<String, String> {
    match shape {
        Shape::Claimed => scripts::claimed(reply).map(|it| format!("{it:?}")),
        Shape::Applied => scripts::applied(reply).map(|it| format!("{it:?}")),
        Shape::Pulse => scripts::pulse(&[], reply).map(|it| format!("{it:?}")),
        Shape::Created => scripts::created(reply).map(|it| format!("{it:?}")),
        Shape::Kept => scripts::kept(reply).map(|it| format!("{it:?}")),
        Shape::Saved => scripts::saved(reply).map(|it| format!("{it:?}")),
        Shape::Record => record(reply).map(|it| format!("{it:?}")),
        Shape::Listed => reply::listed(reply, &record::LISTED)
            .and_then(|fields| fields.map(record::Fields::read).transpose())
            .map(|it| format!("{it:?}")),
        Shape::Scripts => {
            let name = "x".parse().map_err(|error| format!("{error}"))?;
            scripts::versions(&name, reply).map(|it| format!("{it:?}"))
        }
        Shape::Tallied => {
            let batch = "x".parse().map_err(|error| format!("{error}"))?;
            scripts::tallied(reply, &batch).map(|it| format!("{it:?}"))
        }
        Shape::Number => reply::number::<i64>(reply).map(|it| it.to_string()),
    }
}

/// Reads a whole record.
///
/// # Errors
/// When it cannot be read.
pub fn record(reply: Value) -> Result<Record, String> {
    reply::fields(reply)?.read()
}

/// A record as the server answers it.
pub fn written(record: &Record) -> Value {
    let pairs = record::write(record).into_iter();
    let bulk = |bytes| Value::BulkString(bytes);
    let values = pairs.flat_map(|(name, value)| [name.into_owned().into_bytes(), value]);
    Value::Array(values.map(bulk).collect())
}

/// Reads where a page of a list ended.
///
/// # Errors
/// When it is no such place.
pub fn cursor(text: &str) -> Result<String, String> {
    text.parse()
        .map(|place: list::cursor::Cursor| place.to_string())
}

/// What is told of a server that says this of itself.
pub fn findings(info: &str) -> Vec<Finding> {
    check::judge(info)
}
