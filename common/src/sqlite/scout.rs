//! The thread that looks out for what nobody in this process did: commits of other processes,
//! messages that fall due, processes that die. Rests while nobody here consumes or watches.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use rusqlite::{Connection, OptionalExtension};

use super::{
    ear::{Ear, For},
    fault::Fault,
    hub::{Hub, Interests},
    messages, pauses, session,
    writer::{OnDisk, Writer},
};
use crate::{
    job::JobId,
    ports::{HEARTBEAT, WORKER_TTL},
    time::Timestamp,
};

/// How soon another process's commit is noticed where nothing tells of it.
const PACE: Duration = Duration::from_millis(20);
/// How soon it is noticed when something was written. One hears of a write before it is synced and
/// can be seen, so one looks again and again, for as long as a sync may take.
const KEEN_PACE: Duration = Duration::from_millis(1);
/// How often the dead are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// Looks are followed by rests that are so many times as long, in the long run, as they used the
/// processor: what they cost is bounded, however many jobs are watched, however much is written.
const REST_PER_LOOK: u32 = 20;
/// So much rest may be owed: after a calm, the first looks follow each other closely.
const OWED: Duration = PACE;
/// Messages that fall due in one commit.
const PROMOTED_MAX: i64 = 1000;

struct Scout {
    db: Connection,
    ear: Ear,
    writer: Writer,
    hub: Arc<Hub>,
    session: Arc<AtomicI64>,
    /// SQLite's count of commits, as last seen.
    version: i64,
    /// When a write was heard of; some time ago where none is heard of.
    written: Instant,
    /// When all rest that is owed for looks will have been had.
    rested: Instant,
    next_due: Option<Timestamp>,
    rounded: Timestamp,
    beaten: Timestamp,
    /// Until then nobody is declared dead: this process slept, so others may just have, too.
    grace: Timestamp,
}

/// Starts the thread, with a connection of its own.
pub(super) fn start(
    db: Connection,
    mut ear: Ear,
    writer: &Writer,
    hub: &Arc<Hub>,
    session: &Arc<AtomicI64>,
) -> Result<JoinHandle<()>, Fault> {
    if let Some(path) = db.path() {
        ear.listen_to(Path::new(path));
    }
    let scout = Scout {
        db,
        ear,
        writer: writer.clone(),
        hub: hub.clone(),
        session: session.clone(),
        version: 0,
        written: Instant::now(),
        rested: Instant::now(),
        next_due: None,
        rounded: Timestamp::now(),
        beaten: Timestamp::default(),
        grace: Timestamp::default(),
    };
    thread::Builder::new()
        .name("haul-sqlite-eye".to_owned())
        .spawn(move || scout.run())
        .map_err(|error| Fault::failed(format!("no thread for it: {error}")))
}

impl Scout {
    fn run(mut self) {
        let mut is_idle = true;
        loop {
            let Some(called) = self.hub.was_kicked() else {
                return;
            };
            let interests = self.hub.interests();
            if interests.is_empty() {
                is_idle = true;
                self.ear.rest(For::Calls, None);
                continue;
            }
            if std::mem::take(&mut is_idle) {
                // Whoever joined just now has said so itself.
                self.rounded = Timestamp::now();
                self.beaten = self.rounded;
            }
            let from = cpu_time();
            if let Err(fault) = self.look(&interests, called) {
                tracing::warn!(?fault, "cannot look into the file; tries again");
                thread::sleep(ROUND);
            }
            self.rest(&interests, cpu_time().saturating_sub(from));
        }
    }

    fn rest(&mut self, interests: &Interests, looked: Duration) {
        let mut pace = PACE;
        let mut what = For::Calls;
        if self.ear.hears_writes() {
            if self.ear.heard_write() {
                self.written = Instant::now();
            }
            let since = self.written.elapsed();
            if since < PACE {
                pace = KEEN_PACE;
            } else {
                what = For::CallsAndWrites;
                // A sync may have taken longer than that; at most as long again.
                pace = since.min(ROUND);
            }
        }
        let due = self.next_due.filter(|_| !interests.lanes.is_empty());
        let pace = due.map_or(pace, |due| pace.min(due.since(Timestamp::now())));
        let pace = pace.max(self.owed(looked));
        self.ear.rest(what, Some(pace));
    }

    /// The least rest after a look.
    fn owed(&mut self, looked: Duration) -> Duration {
        let now = Instant::now();
        self.rested = (self.rested.max(now) + looked * REST_PER_LOOK).min(now + ROUND);
        (self.rested - now).saturating_sub(OWED).max(KEEN_PACE)
    }

    fn look(&mut self, interests: &Interests, called: bool) -> Result<(), Fault> {
        let version: i64 = self
            .db
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if called || version != self.version {
            self.version = version;
            self.look_around(interests)?;
        }
        if interests.lanes.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now();
        if self.next_due.is_some_and(|due| due <= now) {
            self.promote(now);
        }
        if now.since(self.rounded) >= ROUND || now < self.rounded {
            self.round(now)?;
        }
        if now.since(self.beaten) >= HEARTBEAT || now < self.beaten {
            self.beat(now);
        }
        Ok(())
    }

    fn look_around(&mut self, interests: &Interests) -> Result<(), Fault> {
        for (queue, lane) in &interests.lanes {
            if messages::has_ready(&self.db, queue, *lane)? {
                self.hub.wake(queue, *lane);
            }
        }
        for id in &interests.jobs {
            self.hub.saw_job(id, job_print(&self.db, id)?);
        }
        if interests.cancels {
            self.hub.saw_cancels(cancels_print(&self.db)?);
        }
        self.next_due = messages::next_due(&self.db)?;
        Ok(())
    }

    fn promote(&mut self, now: Timestamp) {
        // Until the commit is seen, there is nothing to wait for.
        self.next_due = None;
        let hub = self.hub.clone();
        self.writer.send(
            1,
            OnDisk::Soon,
            move |txn| messages::promote(txn.db, now, PROMOTED_MAX),
            move |_| hub.kick(),
        );
    }

    fn round(&mut self, now: Timestamp) -> Result<(), Fault> {
        if now.since(self.rounded) > 3 * ROUND || now < self.rounded {
            self.grace = now + WORKER_TTL;
        }
        self.rounded = now;
        if now >= self.grace && !session::dead(&self.db, now)?.is_empty() {
            let hub = self.hub.clone();
            self.writer.send(
                1,
                OnDisk::Soon,
                |txn| session::bury_all(txn.db),
                move |_| hub.kick(),
            );
        }
        Ok(())
    }

    fn beat(&mut self, now: Timestamp) {
        self.beaten = now;
        let id = self.session.load(Ordering::SeqCst);
        let (hub, session) = (self.hub.clone(), self.session.clone());
        let done = move |alive: Result<bool, Fault>| {
            let is_lost = matches!(alive, Ok(false));
            let current = || session.compare_exchange(id, 0, Ordering::SeqCst, Ordering::SeqCst);
            if is_lost && current().is_ok() {
                hub.lose_all();
            }
        };
        self.writer.send(
            1,
            OnDisk::Soon,
            move |txn| session::beat(txn.db, id, now),
            done,
        );
    }
}

/// What this thread has used up; unlike the time that passed, not longer where others run instead.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Interests {
    fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.jobs.is_empty() && !self.cancels
    }
}

/// A number that differs when something that is shown of the job does.
fn job_print(db: &Connection, id: &JobId) -> Result<u64, Fault> {
    let mut look = db.prepare_cached(
        "SELECT state, attempt, fence, cancel, progress, length(log) FROM jobs WHERE id = ?1",
    )?;
    let print = look.query_row([&**id], |row| {
        let mut hash = DefaultHasher::new();
        row.get_ref(0)?.as_str()?.hash(&mut hash);
        for column in [1, 2, 3, 5] {
            row.get::<_, i64>(column)?.hash(&mut hash);
        }
        row.get_ref(4)?.as_str_or_null()?.hash(&mut hash);
        Ok(hash.finish())
    });
    Ok(print.optional()?.unwrap_or(0))
}

/// Of all that a heartbeat hears of.
fn cancels_print(db: &Connection) -> Result<u64, Fault> {
    let mut look =
        db.prepare_cached("SELECT seq FROM jobs WHERE cancel = 1 AND state = 'running'")?;
    let mut hash = DefaultHasher::new();
    let mut rows = look.query([])?;
    while let Some(row) = rows.next()? {
        row.get::<_, i64>(0)?.hash(&mut hash);
    }
    pauses::names(db)?.hash(&mut hash);
    Ok(hash.finish())
}
