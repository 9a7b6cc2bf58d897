//! `tally.lua`

use std::collections::BTreeMap;

use ::redis::Value;

use super::{Call, Keys, TALLY, Unreadable};
use crate::{
    job::{BatchId, StateKind},
    ports::BatchCounts,
    redis::reply,
    time::Timestamp,
};

/// About half a second, in which the server does nothing else.
pub(super) const COUNTED_ANEW_MAX: usize = 500_000;

pub(in crate::redis) fn tally(keys: &Keys, batch: &BatchId) -> Call {
    let names = [
        keys.batch(batch),
        keys.tally(batch),
        keys.all_batches(),
        keys.job(""),
    ];
    Call::new(&TALLY, &names)
        .text(batch)
        .number(COUNTED_ANEW_MAX)
}

pub(in crate::redis) fn tallied(
    value: Value,
    batch: &BatchId,
) -> Result<Option<BatchCounts>, Unreadable> {
    let mut values = reply::array(value)?.into_iter();
    let Some(created) = values.next() else {
        return Ok(None);
    };
    let mut states = BTreeMap::new();
    while let (Some(state), Some(count)) = (values.next(), values.next()) {
        let state: StateKind = reply::text(state)?.parse()?;
        // Less than none, where it could not be counted anew.
        let count = reply::number::<i64>(count)?.max(0).unsigned_abs();
        if count > 0 {
            states.insert(state, count);
        }
    }
    Ok(Some(BatchCounts {
        batch: batch.clone(),
        created: Timestamp::from_millis(reply::number(created)?),
        states,
    }))
}
