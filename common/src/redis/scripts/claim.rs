//! `claim.lua`

use ::redis::Value;

use super::{CLAIM, Call, Keys, Unreadable};
use crate::{
    job::{Fence, State},
    life::Life,
    ports::{Claim, Claimed, Grant},
    redis::reply,
    time::Timestamp,
};

/// How early a job may start: less than the shortest delay there is.
const EARLY_MS: u32 = 100;

pub(in crate::redis) fn claim(keys: &Keys, claim: &Claim) -> Call {
    Call::new(&CLAIM, &[keys.job(&claim.id), keys.indexes()])
        .arg(claim.id.as_bytes())
        .number(claim.attempt)
        .number(claim.digest)
        .arg(claim.worker.as_bytes())
        .arg(keys.watch(&claim.id).as_bytes())
        .number(EARLY_MS)
}

pub(in crate::redis) fn claimed(claim: Claim, value: Value) -> Result<Claimed, Unreadable> {
    if value == Value::Nil {
        return Ok(Claimed::Missing);
    }
    let values = reply::array(value)?;
    match <[Value; 8]>::try_from(values) {
        Ok(granted) => grant(claim, granted).map(Claimed::Granted),
        Err(mut held) => {
            let record = held.pop().ok_or("a record was expected")?;
            Ok(Claimed::Held(Box::new(reply::fields(record)?.read()?)))
        }
    }
}

fn grant(claim: Claim, values: [Value; 8]) -> Result<Grant, Unreadable> {
    let [_, fence, now, created, starts, started, crashes, error] = values;
    let time = |value| reply::number(value).map(Timestamp::from_millis);
    let life = Life {
        state: State::Running {
            worker: claim.worker,
            began: time(now)?,
        },
        attempt: claim.attempt,
        fence: Fence(reply::number(fence)?),
        starts: reply::number(starts)?,
        crashes: reply::number(crashes)?,
        cancel_requested: false,
        started: Some(time(started)?),
        error: Some(reply::text(error)?).filter(|error| !error.is_empty()),
    };
    Ok(Grant {
        life,
        created: time(created)?,
    })
}
