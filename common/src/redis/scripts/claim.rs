//! `claim.lua`

use ::redis::Value;

use super::{CLAIM, Call, Unreadable, create};
use crate::{
    life::EARLY_TOLERANCE,
    ports::{Claim, Claimed, Grant},
    redis::{record, reply},
    time::Timestamp,
};

pub(in crate::redis) fn claim(claim: &Claim) -> Call {
    let call = Call::one_of(&CLAIM)
        .text(&claim.id)
        .number(claim.attempt)
        .text(&claim.digest.to_string())
        .text(&claim.worker)
        .number(EARLY_TOLERANCE.as_millis());
    match &claim.record {
        Some(record) => create::values(call, record),
        None => call,
    }
}

pub(in crate::redis) fn claimed(value: Value) -> Result<Claimed, Unreadable> {
    let mut values = match value {
        Value::Nil => return Ok(Claimed::Missing),
        Value::Array(values) => values,
        granted => return Ok(Claimed::Granted(grant(granted, None)?)),
    };
    match (values.pop(), values.pop()) {
        (Some(error), Some(granted)) => {
            let error = reply::text(error).ok();
            Ok(Claimed::Granted(grant(granted, error)?))
        }
        (Some(record), None) => {
            let record = reply::fields(record)?.read()?;
            Ok(Claimed::Held(Box::new(record)))
        }
        (None, _) => Err("a record was expected".to_owned()),
    }
}

fn grant(granted: Value, error: Option<String>) -> Result<Grant, Unreadable> {
    let granted = reply::text(granted)?;
    let (created, head) = granted.split_once('|').ok_or("a head was expected")?;
    let created = created.parse().map_err(|_| "a time was expected")?;
    Ok(Grant {
        life: record::life(head, error, None)?,
        created: Timestamp::from_millis(created),
    })
}
