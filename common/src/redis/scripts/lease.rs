//! `lease.lua`

use std::time::Duration;

use ::redis::Value;

use super::{Call, Keys, LEASE, Unreadable};
use crate::{job::WorkerId, redis::reply, time::Timestamp};

/// An end that is written down is beyond doubt; one that has to be told from silence is not.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

pub(in crate::redis) fn lease(
    keys: &Keys,
    worker: &WorkerId,
    lease: Duration,
    renew: bool,
) -> Call {
    Call::new(&LEASE, &[keys.worker(worker), keys.since(), keys.life()])
        .number(lease.as_millis())
        .number(REMEMBERED.as_millis())
        .number(u8::from(renew))
}

/// Until when; nothing where an earlier lease had ended.
pub(in crate::redis) fn leased(value: Value) -> Result<Option<Timestamp>, Unreadable> {
    match value {
        Value::Nil => Ok(None),
        until => reply::number(until).map(|ms| Some(Timestamp::from_millis(ms))),
    }
}
