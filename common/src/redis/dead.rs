//! Which workers are dead, beyond doubt.
//!
//! Says no in doubt. No worker is called dead while the server is away or has just come back, while
//! nobody has been able to say for long that he lives in this life of the server, or while its memory is
//! younger than a heartbeat may be old: then live workers may not have had the time to say so. How long
//! the server is up tells less: it may read its file for longer than a worker counts as alive.
//!
//! A worker is dead once it has not beaten for [`WORKER_TTL`]. Sooner, where its connections tell:
//! each worker listens to a channel of its own. When nobody listens there [`SILENCE`] after the
//! broker took a message back from it, its process has dropped both its connections. A lease says by
//! itself until when it lives: nobody beats for it, and no silence shortens it.

use std::{collections::HashSet, time::Duration};

use ::redis::{Pipeline, Value};
use serde::Deserialize;

use super::{keys::Keys, link::Link, reply};
use crate::{job::WorkerId, ports::StoreError, protocol::WORKER_TTL, time::Timestamp};

/// A worker that only lost its connection listens again sooner.
const SILENCE: Duration = Duration::from_millis(900);
/// A suspicion that nobody renews is forgotten.
const SUSPICION: Duration = Duration::from_secs(3);

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
        && look.verdict == Some(false)
    {
        // Even while it listens: this server may not have heard yet that the line is gone, and the
        // message that comes next does not say that it was taken back.
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline
            .cmd("SET")
            .arg(keys.suspicion(worker))
            .arg(look.at.as_millis())
            .arg("NX")
            .arg("PX")
            .arg(SUSPICION.as_millis());
        link.query(&pipeline).await?;
    }
    Ok(looks.iter().any(Look::is_dead))
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
    let dead = looks.into_iter().filter(Look::is_dead);
    Ok(dead.map(|look| look.worker).collect())
}

/// What is seen of a worker.
struct Look {
    worker: WorkerId,
    at: Timestamp,
    /// Dead or not; nothing in doubt.
    verdict: Option<bool>,
}

impl Look {
    fn is_dead(&self) -> bool {
        self.verdict == Some(true)
    }
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
        pipeline.cmd("GET").arg(keys.suspicion(worker));
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
        let (sign, suspicion, listeners) = (next(), next(), next());
        let suspected = suspected_for(suspicion, at).map_err(corrupt)?;
        let verdict = match read(sign) {
            Some(Sign {
                until: Some(until), ..
            }) => (!restarted).then_some(at > Timestamp::from_millis(until)),
            Some(sign) => {
                let is_silent = is_silent(&sign, listeners).map_err(corrupt)?;
                (!in_doubt).then_some(is_silent && suspected >= SILENCE)
            }
            None => (!in_doubt).then_some(true),
        };
        looks.push(Look {
            worker,
            at,
            verdict,
        });
    }
    Ok(looks)
}

/// Nothing where the worker has no key; one that cannot be read says no more than that it is there.
fn read(sign: Value) -> Option<Sign> {
    let json = reply::bytes(sign)?;
    Some(serde_json::from_slice(&json).unwrap_or_default())
}

/// It listened once, and nobody listens to its channel now.
fn is_silent(sign: &Sign, listeners: Value) -> Result<bool, reply::Unreadable> {
    // The channel's name, and how many listen to it.
    let count = reply::array(listeners)?.pop().unwrap_or_default();
    Ok(sign.listens && reply::number::<u64>(count)? == 0)
}

fn suspected_for(since: Value, now: Timestamp) -> Result<Duration, reply::Unreadable> {
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
