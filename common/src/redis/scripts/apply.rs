//! `apply.lua`

use ::redis::Value;

use super::{APPLY, Call, Keys, Unreadable, forget};
use crate::{
    job::StateKind,
    ports::{Applied, Change},
    redis::{record, reply},
};

pub(super) fn keys(keys: &Keys) -> Vec<String> {
    vec![
        keys.job(""),
        keys.indexes(),
        keys.expiry(),
        keys.tallies(),
        keys.saved(""),
    ]
}

pub(in crate::redis) fn apply(keys: &Keys, change: &Change) -> Call {
    let Change {
        id,
        step,
        expires,
        edit,
    } = change;
    let (from, to) = (step.from.state, step.life.state.kind());
    let stop = to == StateKind::Running && step.life.cancel_requested;
    let call = Call::one_of(&APPLY)
        .text(id)
        .text(&record::version(&step.from))
        .text(from.as_str())
        .text(to.as_str());
    let call = forget(call, *expires, &step.life);
    let call = if stop {
        call.text(&keys.cancels())
    } else {
        call.text("")
    };
    let call = call.text(if edit.is_some() { "1" } else { "" });
    let call = call.pairs(record::write_step(step));
    match edit {
        Some(edit) => call.pairs(record::write_edit(edit)),
        None => call,
    }
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
