//! Which workers are dead, beyond doubt.
//!
//! Says no in doubt. No worker is called dead while the server is away or has just come back, while
//! nobody has been able to say for long that he lives in this life of the server, or while its memory is
//! younger than a heartbeat may be old: then live workers may not have had the time to say so. How long
//! the server is up tells less: it may read its file for longer than a worker counts as alive.
//!
//! A worker is dead once it has not beaten for [`WORKER_TTL`]. Sooner, where its connections tell:
//! each worker listens to a channel of its own. When the broker took a message back from it, and
//! nobody listens there for [`SILENCE`], its process has dropped both its connections. A lease says by
//! itself until when it lives: nobody beats for it, and no silence shortens it.

use std::{collections::HashSet, time::Duration};

use ::redis::{Pipeline, Value};
use serde::Deserialize;

use super::{keys::Keys, link::Link, reply};
use crate::{job::WorkerId, ports::StoreError, protocol::WORKER_TTL, time::Timestamp};

/// A worker that only lost its connection listens again sooner.
const SILENCE: Duration = Duration::from_millis(900);
/// Between looks that are farther apart, it may have listened.
const UNSEEN_MAX: Duration = Duration::from_secs(1);

/// Whether the worker is dead; `dropped` says that the broker took a message back from it.
pub(super) async fn is_dead(
    link: &Link,
    keys: &Keys,
    worker: &WorkerId,
    dropped: bool,
) -> Result<bool, StoreError> {
    let looks = look(link, keys, vec![worker.clone()]).await?;
    if let [look] = looks.as_slice()
        && dropped
    {
        note_silence(link, keys, look).await?;
    }
    Ok(looks.iter().any(|look| look.is_dead))
}

/// Silence counts from when it was first seen. Not from when the message came back: a worker that lives
/// may lose its line to this server at any time after that.
async fn note_silence(link: &Link, keys: &Keys, look: &Look) -> Result<(), StoreError> {
    let key = keys.silence(&look.worker);
    let mut pipeline = Pipeline::with_capacity(2);
    if look.is_silent {
        let (seen, kept) = (look.at.as_millis(), UNSEEN_MAX.as_millis());
        let first = pipeline.cmd("SET").arg(&key).arg(seen);
        first.arg("NX").arg("PX").arg(kept);
        pipeline.cmd("PEXPIRE").arg(key).arg(kept);
    } else if look.was_silent {
        pipeline.cmd("DEL").arg(key);
    } else {
        return Ok(());
    }
    link.query(&pipeline).await.map(drop)
}

/// Those of `workers` that are dead.
pub(super) async fn dead(
    link: &Link,
    keys: &Keys,
    workers: HashSet<WorkerId>,
) -> Result<HashSet<WorkerId>, StoreError> {
    if workers.is_empty() {
        return Ok(workers);
    }
    let looks = look(link, keys, workers.into_iter().collect()).await?;
    let dead = looks.into_iter().filter(|look| look.is_dead);
    Ok(dead.map(|look| look.worker).collect())
}

/// What is seen of a worker.
struct Look {
    worker: WorkerId,
    at: Timestamp,
    /// It listened once, and nobody listens to its channel now.
    is_silent: bool,
    /// So it was when somebody looked last.
    was_silent: bool,
    /// Beyond doubt.
    is_dead: bool,
}

/// What a worker's key holds beside its description.
#[derive(Default, Deserialize)]
struct Sign {
    #[serde(default)]
    listens: bool,
    /// It is a lease, in milliseconds.
    #[serde(default)]
    until: Option<i64>,
}

async fn look(link: &Link, keys: &Keys, workers: Vec<WorkerId>) -> Result<Vec<Look>, StoreError> {
    let mut pipeline = Pipeline::with_capacity(3 * workers.len() + 4);
    pipeline.cmd("INFO").arg("server");
    pipeline.cmd("TIME");
    pipeline.cmd("GET").arg(keys.since());
    pipeline.cmd("GET").arg(keys.life());
    for worker in &workers {
        pipeline.cmd("GET").arg(keys.worker(worker));
        pipeline.cmd("GET").arg(keys.silence(worker));
        pipeline.cmd("PUBSUB").arg("NUMSUB").arg(keys.alive(worker));
    }
    let mut replies = link.query(&pipeline).await?.into_iter();
    let mut next = || replies.next().unwrap_or_default();
    let (info, time, since, life) = (next(), next(), next(), next());
    let corrupt = |why| link.corrupt(why);
    let at = clock(time).map_err(corrupt)?;
    let restarted = link.is_fresh(WORKER_TTL) || is_young(info, life, at).map_err(corrupt)?;
    let in_doubt = restarted || forgets(at, since).map_err(corrupt)?;
    let mut looks = Vec::with_capacity(workers.len());
    for worker in workers {
        let (sign, silence, listeners) = (read(next()), next(), next());
        let was_silent = silence != Value::Nil;
        let silent_for = silent_for(silence, at).map_err(corrupt)?;
        let listeners = listening(listeners).map_err(corrupt)?;
        let is_silent = listeners == 0 && sign.as_ref().is_some_and(|sign| sign.listens);
        let is_dead = match sign {
            Some(Sign {
                until: Some(until), ..
            }) => !restarted && at > Timestamp::from_millis(until),
            Some(_) => !in_doubt && is_silent && silent_for >= SILENCE,
            None => !in_doubt,
        };
        looks.push(Look {
            worker,
            at,
            is_silent,
            was_silent,
            is_dead,
        });
    }
    Ok(looks)
}

/// Nothing where the worker has no key; one that cannot be read says no more than that it is there.
fn read(sign: Value) -> Option<Sign> {
    let json = reply::bytes(sign)?;
    Some(serde_json::from_slice(&json).unwrap_or_default())
}

/// How many listen to a channel.
fn listening(numsub: Value) -> Result<u64, reply::Unreadable> {
    // The channel's name stands before it.
    reply::number(reply::array(numsub)?.pop().unwrap_or_default())
}

fn silent_for(since: Value, now: Timestamp) -> Result<Duration, reply::Unreadable> {
    if since == Value::Nil {
        return Ok(Duration::ZERO);
    }
    Ok(now.since(Timestamp::from_millis(reply::number(since)?)))
}

fn clock(time: Value) -> Result<Timestamp, reply::Unreadable> {
    let mut parts = reply::array(time)?.into_iter().map(reply::number::<i64>);
    let mut next = || parts.next().unwrap_or(Ok(0));
    let (seconds, micros) = (next()?, next()?);
    Ok(Timestamp::from_millis(
        seconds.saturating_mul(1000).saturating_add(micros / 1000),
    ))
}

/// Nobody has been able for long to say that he lives in this life of the server.
fn is_young(info: Value, life: Value, now: Timestamp) -> Result<bool, reply::Unreadable> {
    if life == Value::Nil {
        return Ok(false);
    }
    let (info, life) = (reply::text(info)?, reply::text(life)?);
    let (began, run) = life.split_once('|').ok_or("a life was expected")?;
    let began = began.parse().map_err(|_| "a time was expected")?;
    let known = reply::info(&info, "run_id") == Some(run);
    Ok(!known || now.since(Timestamp::from_millis(began)) <= WORKER_TTL)
}

/// Its memory is younger than a heartbeat may be old.
fn forgets(now: Timestamp, since: Value) -> Result<bool, reply::Unreadable> {
    if since == Value::Nil {
        return Ok(true);
    }
    Ok(now.since(Timestamp::from_millis(reply::number(since)?)) <= WORKER_TTL)
}
