//! `apply.lua`

use ::redis::Value;

use super::{APPLY, BACKSTOP_MS, Call, Keys, Unreadable};
use crate::{
    job::StateKind,
    ports::{Applied, Change},
    redis::{record, reply},
};

pub(in crate::redis) fn apply(keys: &Keys, change: &Change) -> Call {
    let Change { id, step, expires } = change;
    let to = step.life.state.kind();
    let expires = expires
        .filter(|_| to.is_terminal())
        .map(|at| at.as_millis());
    let stop = to == StateKind::Running && step.life.cancel_requested;
    let names = [keys.job(id), keys.indexes(), keys.expiry(), keys.saved(id)];
    let call = Call::new(&APPLY, &names)
        .arg(id.as_bytes())
        .number(step.from.state)
        .number(step.from.attempt)
        .number(step.from.fence)
        .number(to)
        .arg(keys.watch(id).as_bytes())
        .arg(if stop { keys.cancels() } else { String::new() }.as_bytes())
        .number(u8::from(step.from.state.is_terminal()))
        .arg(
            expires
                .map_or_else(String::new, |at| at.to_string())
                .as_bytes(),
        )
        .number(expires.unwrap_or_default().saturating_add(BACKSTOP_MS))
        .number(u8::from(step.from.cancel_requested));
    call.pairs(record::write_step(step))
}

pub(in crate::redis) fn applied(value: Value) -> Result<Applied, Unreadable> {
    match value {
        Value::Nil => Ok(Applied::Missing),
        Value::Int(_) => Ok(Applied::Done),
        record => Ok(Applied::Superseded(Box::new(
            reply::fields(record)?.read()?,
        ))),
    }
}
