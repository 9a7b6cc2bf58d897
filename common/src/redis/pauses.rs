//! Queues that are paused: one hash, whose names every heartbeat brings.

use ::redis::{Pipeline, Value};

use super::{
    keys::Keys,
    link::Link,
    reply::{self, Unreadable},
};
use crate::{
    job::QueueName,
    ports::{Pause, Pauses, StoreError},
};

pub(super) async fn pause(
    link: &Link,
    keys: &Keys,
    queue: &QueueName,
    pause: &Pause,
) -> Result<bool, StoreError> {
    let json = serde_json::to_vec(pause).map_err(|error| link.corrupt(error.to_string()))?;
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline
        .cmd("HSETNX")
        .arg(keys.paused())
        .arg(&**queue)
        .arg(json);
    change(link, keys, pipeline).await
}

pub(super) async fn resume(
    link: &Link,
    keys: &Keys,
    queue: &QueueName,
) -> Result<bool, StoreError> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("HDEL").arg(keys.paused()).arg(&**queue);
    change(link, keys, pipeline).await
}

/// Writes first, then says so: whoever hears of it finds it. Lost in between, or unheard, the next
/// heartbeat of each worker finds it all the same.
async fn change(link: &Link, keys: &Keys, mut write: Pipeline) -> Result<bool, StoreError> {
    write.cmd("PUBLISH").arg(keys.cancels()).arg("");
    let changed = link.query(&write).await?.into_iter().next();
    let changed: Result<u64, _> = reply::number(changed.unwrap_or(Value::Nil));
    changed
        .map(|changed| changed > 0)
        .map_err(|why| link.corrupt(why))
}

pub(super) async fn all(link: &Link, keys: &Keys) -> Result<Pauses, StoreError> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("HGETALL").arg(keys.paused());
    let fields = link.query(&pipeline).await?.pop().unwrap_or_default();
    read(fields).map_err(|why| link.corrupt(format!("paused queues: {why}")))
}

fn read(fields: Value) -> Result<Pauses, Unreadable> {
    let mut fields = reply::array(fields)?.into_iter();
    let mut pauses = Pauses::new();
    while let (Some(queue), Some(pause)) = (fields.next(), fields.next()) {
        let queue = reply::text(queue)?;
        let name = queue.parse().map_err(|why| format!("{queue:.80}: {why}"))?;
        let pause = serde_json::from_str(&reply::text(pause)?);
        pauses.insert(name, pause.map_err(|why| format!("{queue}: {why}"))?);
    }
    Ok(pauses)
}
