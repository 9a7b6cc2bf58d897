//! Reading replies. The scripts answer in few shapes; anything else is a bug or another server's.

use std::borrow::Cow;

use ::redis::Value;

use super::record::Fields;

/// Why a reply could not be read.
pub(super) type Unreadable = String;

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Result<String, Unreadable> {
    let bytes = bytes(value).ok_or("text was expected")?;
    String::from_utf8(bytes).map_err(|_| "text was expected, and bytes came".to_owned())
}

pub(super) fn number<T: std::str::FromStr>(value: Value) -> Result<T, Unreadable> {
    let text = text(value)?;
    text.parse()
        .map_err(|_| format!("a number was expected instead of {text:?}"))
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, Unreadable> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect()),
        _ => Err("an array was expected".to_owned()),
    }
}

/// A line of INFO.
pub(super) fn info<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|it| it.0 == name).map(|(_, value)| value.trim())
}

/// What HGETALL answers.
pub(super) fn fields(value: Value) -> Result<Fields, Unreadable> {
    let mut values = array(value)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        pairs.push((Cow::Owned(text(name)?), bytes(value).unwrap_or_default()));
    }
    Ok(pairs.into_iter().collect())
}

/// What HMGET of `names` answers; nothing if there is no such hash.
pub(super) fn listed(value: Value, names: &[&'static str]) -> Result<Option<Fields>, Unreadable> {
    let values = array(value)?;
    if values.iter().all(|value| *value == Value::Nil) {
        return Ok(None);
    }
    let pairs = names.iter().zip(values);
    Ok(Some(
        pairs
            .filter_map(|(name, value)| Some((Cow::Borrowed(*name), bytes(value)?)))
            .collect(),
    ))
}
