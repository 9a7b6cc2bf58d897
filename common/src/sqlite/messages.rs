//! What is done to messages, each function within an open transaction.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::{Inner, fault::Fault, session};
use crate::{
    job::{Lane, QueueName},
    ports::{Publication, Route, Verdict},
    time::Timestamp,
};

/// The lane number of dead letters. Nobody consumes it.
pub(super) const DEAD: i64 = 4;

/// The number that stands for a lane in the file.
pub(super) fn number(lane: Lane) -> i64 {
    lane as i64
}

/// Refuses a queue that was never declared.
pub(super) fn must_exist(db: &Connection, queue: &QueueName) -> Result<(), Fault> {
    let mut look = db.prepare_cached("SELECT 1 FROM queues WHERE name = ?1")?;
    let found = look.query_row([&**queue], |_| Ok(())).optional()?;
    found.ok_or_else(|| Inner::no_such_queue(queue))
}

/// A publication, ready to be written.
#[derive(Debug)]
pub(super) struct Letter {
    head: String,
    body: Bytes,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Ready(QueueName, i64),
    Later(QueueName, i64, Timestamp),
}

impl Letter {
    /// Nothing for an answer to a queue of its own: there are none here.
    pub(super) fn new(publication: Publication, now: Timestamp) -> Result<Option<Self>, Fault> {
        let place = match publication.route {
            Route::Lane(queue, lane) => Place::Ready(queue, number(lane)),
            Route::Later {
                queue, lane, delay, ..
            } if delay > Duration::ZERO => Place::Later(queue, number(lane), now + delay),
            Route::Later { queue, lane, .. } => Place::Ready(queue, number(lane)),
            Route::Dead(queue) => Place::Ready(queue, DEAD),
            Route::Reply(_) => return Ok(None),
        };
        let head = serde_json::to_string(&publication.message.head)
            .map_err(|error| Fault::failed(format!("the message cannot be written: {error}")))?;
        Ok(Some(Self {
            head,
            body: publication.message.body,
            place,
        }))
    }

    /// The lane that has work once this is written.
    pub(super) fn wakes(&self) -> Option<(&QueueName, i64)> {
        match &self.place {
            Place::Ready(queue, lane) if *lane != DEAD => Some((queue, *lane)),
            _ => None,
        }
    }

    pub(super) fn post(&self, db: &Connection) -> Result<(), Fault> {
        db.prepare_cached("INSERT INTO messages (head, body) VALUES (?1, ?2)")?
            .execute((&self.head, &*self.body))?;
        let seq = db.last_insert_rowid();
        match &self.place {
            Place::Ready(queue, lane) => db
                .prepare_cached(
                    "INSERT INTO ready (queue, lane, seq, deliveries) VALUES (?1, ?2, ?3, 0)",
                )?
                .execute((&**queue, lane, seq))?,
            Place::Later(queue, lane, due) => db
                .prepare_cached(
                    "INSERT INTO later (due, seq, queue, lane) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((due.as_millis(), seq, &**queue, lane))?,
        };
        Ok(())
    }
}

/// Who takes, and from where.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    pub(super) consumer: i64,
    pub(super) queue: QueueName,
    pub(super) lane: Lane,
}

/// A message that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seq: i64,
    pub(super) deliveries: i64,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Tap {
    /// Settles, then takes up to `want`. Nothing when the consumer was declared dead: what it held
    /// is somebody else's, and is left alone.
    pub(super) fn exchange(
        &self,
        db: &Connection,
        settled: &[(i64, Verdict)],
        want: usize,
    ) -> Result<Option<Vec<Taken>>, Fault> {
        if !session::is_known(db, self.consumer)? {
            return Ok(None);
        }
        for (seq, verdict) in settled {
            match verdict {
                Verdict::Ack => self.forget(db, *seq)?,
                Verdict::Release => self.release(db, *seq)?,
            }
        }
        if want == 0 {
            return Ok(Some(Vec::new()));
        }
        self.take(db, want).map(Some)
    }

    fn forget(&self, db: &Connection, seq: i64) -> Result<(), Fault> {
        if self.unhold(db, seq)? {
            db.prepare_cached("DELETE FROM messages WHERE seq = ?1")?
                .execute([seq])?;
        }
        Ok(())
    }

    fn release(&self, db: &Connection, seq: i64) -> Result<(), Fault> {
        db.prepare_cached(
            "INSERT INTO ready (queue, lane, seq, deliveries)
             SELECT queue, lane, seq, deliveries + 1 FROM held WHERE seq = ?1 AND consumer = ?2",
        )?
        .execute((seq, self.consumer))?;
        self.unhold(db, seq).map(drop)
    }

    fn unhold(&self, db: &Connection, seq: i64) -> Result<bool, Fault> {
        let mut delete = db.prepare_cached("DELETE FROM held WHERE seq = ?1 AND consumer = ?2")?;
        Ok(delete.execute((seq, self.consumer))? == 1)
    }

    fn take(&self, db: &Connection, want: usize) -> Result<Vec<Taken>, Fault> {
        let lane = number(self.lane);
        // No LIMIT: SQLite compiles a statement anew whenever that number is another.
        let taken: Vec<Taken> = db
            .prepare_cached(
                "SELECT r.seq, r.deliveries, m.head, m.body
                 FROM ready r CROSS JOIN messages m ON m.seq = r.seq
                 WHERE r.queue = ?1 AND r.lane = ?2 ORDER BY r.seq",
            )?
            .query_map((&*self.queue, lane), |row| {
                Ok(Taken {
                    seq: row.get(0)?,
                    deliveries: row.get(1)?,
                    head: row.get(2)?,
                    body: row.get(3)?,
                })
            })?
            .take(want)
            .collect::<Result<_, _>>()?;
        // What is taken is the front of the lane, so one range moves it.
        let Some(last) = taken.last() else {
            return Ok(taken);
        };
        db.prepare_cached(
            "INSERT INTO held (seq, consumer, queue, lane, deliveries)
             SELECT seq, ?4, queue, lane, deliveries FROM ready
             WHERE queue = ?1 AND lane = ?2 AND seq <= ?3",
        )?
        .execute((&*self.queue, lane, last.seq, self.consumer))?;
        db.prepare_cached("DELETE FROM ready WHERE queue = ?1 AND lane = ?2 AND seq <= ?3")?
            .execute((&*self.queue, lane, last.seq))?;
        Ok(taken)
    }
}

/// When the next message falls due.
pub(super) fn next_due(db: &Connection) -> Result<Option<Timestamp>, Fault> {
    let due: Option<i64> = db
        .prepare_cached("SELECT min(due) FROM later")?
        .query_row([], |row| row.get(0))?;
    Ok(due.map(Timestamp::from_millis))
}

/// Moves up to `limit` messages whose time has come into their lanes.
pub(super) fn promote(db: &Connection, now: Timestamp, limit: i64) -> Result<(), Fault> {
    let due: Vec<(i64, i64)> = db
        .prepare_cached("SELECT due, seq FROM later WHERE due <= ?1 ORDER BY due, seq LIMIT ?2")?
        .query_map((now.as_millis(), limit), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let Some(last) = due.last() else {
        return Ok(());
    };
    db.prepare_cached(
        "INSERT INTO ready (queue, lane, seq, deliveries)
         SELECT queue, lane, seq, 0 FROM later WHERE (due, seq) <= (?1, ?2)",
    )?
    .execute(*last)?;
    db.prepare_cached("DELETE FROM later WHERE (due, seq) <= (?1, ?2)")?
        .execute(*last)?;
    Ok(())
}

/// Whether a lane has a message for whoever asks.
pub(super) fn has_ready(db: &Connection, queue: &QueueName, lane: i64) -> Result<bool, Fault> {
    let mut look =
        db.prepare_cached("SELECT EXISTS (SELECT 1 FROM ready WHERE queue = ?1 AND lane = ?2)")?;
    Ok(look.query_row((&**queue, lane), |row| row.get(0))?)
}
