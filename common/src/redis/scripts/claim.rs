//! `claim.lua`

use ::redis::Value;

use super::{CLAIM, Call, Keys, Unreadable};
use crate::{
    life::EARLY_TOLERANCE,
    ports::{Claim, Claimed, Grant},
    redis::{record, reply},
    time::Timestamp,
};

pub(super) fn keys(keys: &Keys) -> Vec<String> {
    vec![keys.job(""), keys.indexes(), keys.tallies()]
}

pub(in crate::redis) fn claim(claim: &Claim) -> Call {
    Call::one_of(&CLAIM)
        .text(&claim.id)
        .number(claim.attempt)
        .text(&claim.digest.to_string())
        .text(&claim.worker)
        .number(EARLY_TOLERANCE.as_millis())
}

pub(in crate::redis) fn claimed(value: Value) -> Result<Claimed, Unreadable> {
    if value == Value::Nil {
        return Ok(Claimed::Missing);
    }
    let values = reply::array(value)?;
    match <[Value; 4]>::try_from(values) {
        Ok([_, created, head, error]) => Ok(Claimed::Granted(Grant {
            life: record::life(&reply::text(head)?, reply::text(error).ok(), None)?,
            created: Timestamp::from_millis(reply::number(created)?),
        })),
        Err(mut held) => {
            let record = held.pop().ok_or("a record was expected")?;
            Ok(Claimed::Held(Box::new(reply::fields(record)?.read()?)))
        }
    }
}
