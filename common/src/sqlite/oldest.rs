//! Since when the job waits that has waited longest, by the messages: the next one of each lane,
//! those that consumers hold beyond what they run, and, while no worker is there to move them into
//! their lanes, those whose time has come. However many wait, few are looked at.

use rusqlite::{Connection, OptionalExtension};

use super::{fault::Fault, messages::number};
use crate::{
    job::{Lane, QueueName},
    time::Timestamp,
};

/// The claimable states; whatever else a message is about waits for nothing.
const WAITS: &str = "j.state IN ('queued', 'scheduled', 'retrying')";
const SINCE: &str = "coalesce(j.due, j.created)";
const ITS_JOB: &str = "JOIN messages m ON m.seq = w.seq
    JOIN jobs j ON j.id = json_extract(m.head, '$.message_id')";
/// Messages whose time has come, and that are in no lane yet, in all queues together.
const DUE_MAX: i64 = 1000;

pub(super) fn oldest(
    db: &Connection,
    queues: &[QueueName],
    now: Timestamp,
) -> Result<Vec<Option<Timestamp>>, Fault> {
    let due = due(db, now)?;
    let mut all = Vec::with_capacity(queues.len());
    for queue in queues {
        let due = due.iter().find(|(name, _)| name == &**queue);
        let places = [due.map(|(_, since)| *since), held(db, queue)?];
        let lanes = Lane::ALL.map(|lane| next(db, queue, lane));
        let lanes = lanes.into_iter().collect::<Result<Vec<_>, _>>()?;
        let oldest = places.into_iter().chain(lanes).flatten().min();
        all.push(oldest.map(Timestamp::from_millis));
    }
    Ok(all)
}

fn next(db: &Connection, queue: &QueueName, lane: Lane) -> Result<Option<i64>, Fault> {
    let mut next = db.prepare_cached(&format!(
        "SELECT {SINCE} FROM (SELECT seq FROM ready WHERE queue = ?1 AND lane = ?2
                              ORDER BY seq LIMIT 1) w {ITS_JOB} WHERE {WAITS}"
    ))?;
    let since = next.query_row((&**queue, number(lane)), |row| row.get(0));
    Ok(since.optional()?)
}

fn held(db: &Connection, queue: &QueueName) -> Result<Option<i64>, Fault> {
    let mut held = db.prepare_cached(&format!(
        "SELECT min({SINCE}) FROM held w {ITS_JOB} WHERE w.queue = ?1 AND {WAITS}"
    ))?;
    Ok(held.query_row([&**queue], |row| row.get(0))?)
}

fn due(db: &Connection, now: Timestamp) -> Result<Vec<(String, i64)>, Fault> {
    let mut due = db.prepare_cached(
        "SELECT queue, min(due) FROM (SELECT queue, due FROM later WHERE due <= ?1
                                      ORDER BY due, seq LIMIT ?2) GROUP BY queue",
    )?;
    let rows = due.query_map((now.as_millis(), DUE_MAX), |row| row.try_into())?;
    Ok(rows.collect::<Result<_, _>>()?)
}
