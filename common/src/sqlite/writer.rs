//! The one thread that writes. It takes whatever waits, commits it at once, then answers: batches
//! grow under load by themselves, and a lone call waits for nobody.
//!
//! A call that fails is taken out and the others are run again without it, so a call never sees
//! half of another, and needs no savepoint of its own. That is why calls are `Fn`.

use std::{
    cell::RefCell,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{KIND, fault::Fault, tally::Tally};
use crate::metrics::{BackendMeters, TripMeters};

/// Rows, roughly, that share a commit. More would make the first wait too long.
const WEIGHT_MAX: usize = 2000;
/// How often a commit is tried when another process holds the lock, 5 s each.
const TRIES: u32 = 2;
/// No call waits longer, whatever the disk does.
const DEADLINE: Duration = Duration::from_secs(30);

/// An open transaction.
#[derive(Debug)]
pub(super) struct Txn<'a> {
    pub(super) db: &'a Connection,
    pub(super) tally: RefCell<Tally>,
}

/// Where writes are sent.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    to: Sender<Order>,
}

/// When a commit must be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OnDisk {
    /// With the next commit that is synced. After a power failure it may not have happened: for
    /// what is then done again anyway, such as a claim. The death of the process loses nothing.
    Soon,
    /// Before it is answered: for what somebody was promised.
    Now,
}

impl OnDisk {
    const fn pragma(self) -> &'static str {
        match self {
            Self::Soon => "PRAGMA synchronous = NORMAL",
            Self::Now => "PRAGMA synchronous = FULL",
        }
    }
}

enum Order {
    Run(Box<dyn Call>),
    Close(oneshot::Sender<()>),
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Run(_) => "Run",
            Self::Close(_) => "Close",
        })
    }
}

trait Call: Send {
    fn weight(&self) -> usize;
    fn sync(&self) -> OnDisk;
    fn run(&mut self, txn: &Txn<'_>) -> Result<(), Fault>;
    fn settle(self: Box<Self>, fate: Result<(), Fault>);
}

struct Work<T, F, D> {
    weight: usize,
    sync: OnDisk,
    work: F,
    made: Option<T>,
    done: D,
}

impl<T, F, D> Call for Work<T, F, D>
where
    T: Send,
    F: Fn(&Txn<'_>) -> Result<T, Fault> + Send,
    D: FnOnce(Result<T, Fault>) + Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn sync(&self) -> OnDisk {
        self.sync
    }

    fn run(&mut self, txn: &Txn<'_>) -> Result<(), Fault> {
        self.made = Some((self.work)(txn)?);
        Ok(())
    }

    fn settle(self: Box<Self>, fate: Result<(), Fault>) {
        let Self { made, done, .. } = *self;
        done(fate.and_then(|()| made.ok_or_else(Fault::closed)));
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(db: Connection) -> Result<Self, Fault> {
        let (to, from) = channel();
        thread::Builder::new()
            .name("haul-sqlite".to_owned())
            .spawn(move || run(&db, &from))
            .map_err(|error| Fault::failed(format!("no thread for it: {error}")))?;
        Ok(Self { to })
    }

    /// Runs `work` in a commit and answers after it. `weight` is about how many rows it writes.
    pub(super) async fn call<T, F>(&self, weight: usize, sync: OnDisk, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: Fn(&Txn<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(weight, sync, work, move |result| {
            // Whoever asked may have gone; it is done all the same.
            let _ = reply.send(result);
        });
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Fault::closed())),
            Err(_) => Err(Fault::overdue()),
        }
    }

    /// Runs `work` in a commit, then `done` on the writer's thread.
    pub(super) fn send<T, F, D>(&self, weight: usize, sync: OnDisk, work: F, done: D)
    where
        T: Send + 'static,
        F: Fn(&Txn<'_>) -> Result<T, Fault> + Send + 'static,
        D: FnOnce(Result<T, Fault>) + Send + 'static,
    {
        let work = Work {
            weight,
            sync,
            work,
            made: None,
            done,
        };
        // Where the thread is gone, dropping the call answers it.
        let _ = self.to.send(Order::Run(Box::new(work)));
    }

    /// Waits for what was sent before, then closes the file.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.to.send(Order::Close(reply)).is_ok() {
            // Ends either way once the thread is through.
            let _ = answer.await;
        }
    }
}

/// What is counted of commits.
struct Meters {
    commits: TripMeters,
    file: BackendMeters,
}

impl Meters {
    fn new() -> Self {
        let file = BackendMeters::new(KIND, "file");
        // It was opened just now.
        file.up();
        Self {
            commits: TripMeters::new(KIND, "commit"),
            file,
        }
    }

    fn over(&self, since: Instant, outcome: Result<&(), &Fault>) {
        self.commits.over(since, outcome.is_ok());
        match outcome {
            Ok(()) => self.file.up(),
            Err(fault) if fault.is_everyones() => self.file.down(),
            // The fault of one call.
            Err(_) => {}
        }
    }
}

fn run(db: &Connection, from: &Receiver<Order>) {
    let meters = Meters::new();
    while let Ok(first) = from.recv() {
        let (batch, close) = gather(first, from);
        commit(db, batch, &meters);
        if let Some(reply) = close {
            meters.file.closed();
            // Leaves one file behind where nobody else has it open.
            let _ = db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            let _ = reply.send(());
            return;
        }
    }
}

fn gather(
    first: Order,
    from: &Receiver<Order>,
) -> (Vec<Box<dyn Call>>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut weight = 0;
    let mut next = Some(first);
    while let Some(order) = next {
        match order {
            Order::Close(reply) => return (batch, Some(reply)),
            Order::Run(call) => {
                weight += call.weight();
                batch.push(call);
            }
        }
        next = (weight < WEIGHT_MAX)
            .then(|| from.try_recv().ok())
            .flatten();
    }
    (batch, None)
}

/// Commits the batch, without those calls that fail by themselves.
fn commit(db: &Connection, mut batch: Vec<Box<dyn Call>>, meters: &Meters) {
    while !batch.is_empty() {
        let since = Instant::now();
        let outcome = attempt(db, &mut batch);
        meters.over(since, outcome.as_ref().map_err(|(_, fault)| fault));
        match outcome {
            Ok(()) => return settle(batch, &Ok(())),
            Err((Some(guilty), fault)) if !fault.is_everyones() => {
                batch.remove(guilty).settle(Err(fault));
            }
            Err((_, fault)) => return settle(batch, &Err(fault)),
        }
    }
}

fn settle(batch: Vec<Box<dyn Call>>, fate: &Result<(), Fault>) {
    for call in batch {
        call.settle(fate.clone());
    }
}

/// One transaction with all of the batch; or whose fault it was, and that nothing is written.
fn attempt(db: &Connection, batch: &mut [Box<dyn Call>]) -> Result<(), (Option<usize>, Fault)> {
    let sync = batch.iter().map(|call| call.sync()).max();
    begin(db, sync.unwrap_or(OnDisk::Now)).map_err(|fault| (None, fault))?;
    let txn = Txn {
        db,
        tally: RefCell::default(),
    };
    let mut outcome = Ok(());
    for (index, call) in batch.iter_mut().enumerate() {
        if let Err(fault) = call.run(&txn) {
            outcome = Err((Some(index), fault));
            break;
        }
    }
    let outcome = outcome.and_then(|()| {
        let flushed = txn.tally.borrow_mut().flush(db);
        flushed
            .and_then(|()| Ok(db.prepare_cached("COMMIT")?.execute([]).map(drop)?))
            .map_err(|fault| (None, fault))
    });
    if outcome.is_err() && !db.is_autocommit() {
        // SQLite has rolled back by itself after the worst errors; an error here changes nothing.
        let _ = db.execute_batch("ROLLBACK");
    }
    outcome
}

fn begin(db: &Connection, sync: OnDisk) -> Result<(), Fault> {
    // Takes effect outside a transaction only.
    db.prepare_cached(sync.pragma())?.execute([])?;
    let mut tries = 0;
    loop {
        let began = db
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]));
        match began.map_err(Fault::from) {
            Ok(_) => return Ok(()),
            Err(fault) if fault.is_busy() && tries + 1 < TRIES => tries += 1,
            Err(fault) => return Err(fault),
        }
    }
}
