//! The whole world in one value: broker, store, workers, and the people who ask for things.

use haul_common::faults::Bug;

use crate::{
    compact::{Move, Msg, Rec},
    rules::Rules,
};

/// The right to settle a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hold {
    /// The delivery is held.
    Held,
    /// Its consumer was lost: it is somebody else's, and settling it does nothing.
    Stale,
    /// A guard stands in for it.
    Guarded,
}

/// Why a handler is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stop {
    /// The job was cancelled.
    Cancelled,
    /// Its attempt lost the job.
    Lost,
}

/// The next call that a delivery's task makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pc {
    /// Claim this attempt.
    Claim(u8),
    /// Create the record that was missing.
    Recreate,
    /// Apply what was decided.
    Apply(Move),
    /// Publish a copy for later.
    PutOff(Rec),
    /// Publish the dead letter of a job that has ended.
    Bury(Rec),
    /// Acknowledge.
    Ack,
    /// Give the message back.
    Release,
    /// The handler runs.
    Run,
    /// A guard is published: acknowledge the original.
    Guarded,
    /// Planted bug: the original is acknowledged, publish the guard.
    GuardLate,
    /// Write the end: as judged, and as to be written now.
    Write(Move, Move),
    /// The record is missing: create it, ended.
    WriteNew(Move),
    /// Publish what follows from this record.
    Follow(Rec),
    /// Planted bugs: what follows is published after the acknowledgement.
    FollowLate(Rec),
    /// Settle, now that the job is at this record.
    Settle(Rec),
}

/// A delivery in a worker's hands, from its arrival to its settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// The message that came.
    pub msg: Msg,
    /// The right to settle it.
    pub hold: Hold,
    /// The attempt that it started.
    pub run: Option<Rec>,
    /// The handler was asked to stop.
    pub stop: Option<Stop>,
    /// What comes next.
    pub pc: Pc,
}

/// What a worker's other loops are about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loop {
    /// Nothing.
    Idle,
    /// The janitor takes this orphan.
    Take(Rec),
    /// It sends on what it took.
    SendOn(Rec),
    /// The heartbeat was told that the store forgot this attempt: look the job up.
    Remind(Rec),
    /// It found this record, and tells the store again.
    Reassert(Rec, Option<Rec>),
    /// This job waited beyond its turn: send another message.
    SendAgain(Rec),
}

/// A worker. A crashed one starts again at once, with a new id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    /// The id of this start.
    pub id: u8,
    /// It was taken for dead since it started: it had frozen, or could not reach the store.
    pub doubted: bool,
    /// Deliveries in hand, sorted.
    pub tasks: Vec<Task>,
    /// Heartbeat, janitor and overdue.
    pub other: Loop,
}

/// Who submits the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Submit {
    /// Publish for this try.
    Publish(u8),
    /// The message is confirmed: record it.
    Record,
    /// Over.
    Done,
}

/// Who cancels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancel {
    /// Nobody.
    Idle,
    /// Found it like this.
    Found(Rec),
}

/// Who sends it round again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redrive {
    /// Nobody.
    Idle,
    /// Found it like this: publish.
    Found(Rec),
    /// The message is confirmed: change the record.
    Published(Rec),
}

/// How often each thing may still happen: what makes the space finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A worker, or whoever submits or redrives, is killed.
    pub crashes: u8,
    /// A worker freezes for so long that it is taken for dead, and wakes later.
    pub pauses: u8,
    /// A live worker loses its consumer: what it held is delivered again.
    pub cuts: u8,
    /// The broker delivers a message twice.
    pub copies: u8,
    /// The fate of a publication is unknown.
    pub confirms: u8,
    /// The store carries a call out, and its answer is lost.
    pub answers: u8,
    /// A message comes before its time.
    pub early: u8,
    /// The store goes back to an earlier record.
    pub rollbacks: u8,
    /// The store loses everything.
    pub wipes: u8,
    /// Somebody cancels the job.
    pub cancels: u8,
    /// Somebody sends it round again.
    pub redrives: u8,
    /// A worker gives an attempt back.
    pub releases: u8,
    /// An attempt takes so long that a guard stands in for its delivery.
    pub guards: u8,
}

/// What must never happen, noticed while it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// Two ends were accepted of one fence.
    EndedTwice,
    /// A record left an end without a redrive.
    EndLeft,
    /// A job that was cancelled before it started was started.
    CancelForgotten,
    /// An attempt wrote over a later one.
    OldFenceWrote,
    /// An attempt was taken from a worker that never seemed dead.
    LiveTaken,
    /// A delivery was acknowledged before what follows was durable.
    AckedEarly,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The clock, in hours: moves when somebody waits for it.
    pub now: u8,
    /// The store's clock for fences: moves with each claim.
    pub clock: u8,
    /// What the store knows.
    pub rec: Option<Rec>,
    /// What it will know after a rollback.
    pub kept: Option<Option<Rec>>,
    /// Ids of workers that it takes for dead, by bit.
    pub silent: u16,
    /// Messages that nobody holds, sorted. Each may come at any time that is not before its own.
    pub msgs: Vec<Msg>,
    /// The fence of the newest dead letter.
    pub letter: Option<u8>,
    /// Both workers.
    pub workers: [Worker; 2],
    /// Who submits.
    pub submit: Submit,
    /// Who cancels.
    pub cancel: Cancel,
    /// Who redrives.
    pub redrive: Redrive,
    /// What may still happen.
    pub left: Budget,
    /// For the checks only.
    pub ghost: Ghost,
}

/// What only the checks know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// The submit was accepted.
    pub accepted: bool,
    /// An end was accepted since the last redrive.
    pub ended: bool,
    /// The store has lost something.
    pub lossy: bool,
    /// It was cancelled while it waited.
    pub barred: bool,
    /// Fences of which an end was accepted, by bit.
    pub ends: u32,
    /// Redrives that were asked for and not made yet.
    pub asked: u8,
    /// What went wrong first.
    pub wrong: Option<Wrong>,
}

impl World {
    /// Nothing has happened.
    pub fn new(rules: &Rules) -> Self {
        let worker = |id| Worker {
            id,
            doubted: false,
            tasks: Vec::new(),
            other: Loop::Idle,
        };
        Self {
            now: 0,
            clock: 4,
            rec: None,
            kept: None,
            silent: 0,
            msgs: Vec::new(),
            letter: None,
            workers: [worker(0), worker(u8::from(!rules.has(Bug::WorkerIdReused)))],
            submit: Submit::Publish(0),
            cancel: Cancel::Idle,
            redrive: Redrive::Idle,
            left: rules.budget,
            ghost: Ghost::default(),
        }
    }

    /// Remembers the first thing that went wrong.
    pub fn wrong(&mut self, what: Wrong) {
        self.ghost.wrong.get_or_insert(what);
    }

    /// The store takes the worker of this id for dead.
    pub const fn is_silent(&self, id: u8) -> bool {
        self.silent & (1 << id) != 0
    }

    /// Puts a message into the broker.
    pub fn put(&mut self, msg: Msg) {
        let place = self.msgs.partition_point(|other| *other < msg);
        self.msgs.insert(place, msg);
    }

    /// A confirmed message, or a delivery that nobody has acknowledged.
    pub fn has_message(&self) -> bool {
        let held = |task: &Task| task.hold == Hold::Held;
        !self.msgs.is_empty() || self.workers.iter().any(|w| w.tasks.iter().any(held))
    }
}

impl Worker {
    /// Whether it has the job in hand.
    pub fn in_hand(&self) -> bool {
        !self.tasks.is_empty()
    }
}
