//! `beat.lua`

use ::redis::Value;
use serde::Serialize;

use super::{BEAT, Call, Keys, Unreadable};
use crate::{
    job::{Fence, JobId},
    ports::{Pulse, WorkerInfo},
    protocol::WORKER_TTL,
    redis::reply,
};

/// What a worker's key holds.
#[derive(Serialize)]
struct Sign<'w> {
    #[serde(flatten)]
    worker: &'w WorkerInfo,
    listens: bool,
}

pub(in crate::redis) fn beat(
    keys: &Keys,
    worker: &WorkerInfo,
    listens: bool,
    running: &[(JobId, Fence)],
) -> Call {
    let mut names = vec![
        keys.worker(&worker.id),
        keys.workers(),
        keys.since(),
        keys.life(),
        keys.paused(),
    ];
    names.extend(running.iter().map(|(id, _)| keys.job(id)));
    let info = serde_json::to_vec(&Sign { worker, listens }).unwrap_or_default();
    let call = Call::new(&BEAT, &names)
        .text(&worker.id)
        .bytes(&info)
        .number(WORKER_TTL.as_millis());
    running
        .iter()
        .fold(call, |call, (_, fence)| call.number(fence.0))
}

/// The server's clock in milliseconds, and what is to be known of the jobs.
pub(in crate::redis) fn pulse(
    running: &[(JobId, Fence)],
    value: Value,
) -> Result<(i64, Pulse), Unreadable> {
    let [now, cancelled, lost, forgotten, paused] = <[Value; 5]>::try_from(reply::array(value)?)
        .map_err(|_| "a time and four lists were expected")?;
    let ids = |places| {
        let places = reply::array(places)?
            .into_iter()
            .map(reply::number::<usize>);
        let ids = places.map(|place| Ok(running.get(place?).map(|(id, _)| id.clone())));
        ids.filter_map(Result::transpose)
            .collect::<Result<Vec<_>, Unreadable>>()
    };
    // What is no name of a queue pauses none.
    let names = reply::array(paused)?.into_iter().map(reply::text);
    let paused = names.filter_map(|name| name.ok()?.parse().ok()).collect();
    Ok((
        reply::number(now)?,
        Pulse {
            cancelled: ids(cancelled)?,
            lost: ids(lost)?,
            forgotten: ids(forgotten)?,
            paused,
        },
    ))
}
