//! Jobs and messages in few bytes, and the product's own decisions about them.
//!
//! Every rule is asked of [`haul_common::life`]; here they are only put into its types and back.

use std::{sync::LazyLock, time::Duration};

use haul_common::{
    job::{
        Attempt, Backoff, Envelope, Failure, Fence, Json, Outcome, Reason, Record, Spec, State,
        WorkerId, json,
    },
    life::{self, Arrival, Ended, Life, Owner, Settle},
    time::Timestamp,
};

/// One unit of the model's clock.
const HOUR: Duration = Duration::from_secs(3600);
const BEGINNING: Timestamp = Timestamp::from_millis(1_000_000_000);

static SPEC: LazyLock<Spec> = LazyLock::new(|| {
    let task = "t".parse().expect("a task");
    let queue = "q".parse().expect("a queue");
    let mut spec = Spec::new(task, queue, null());
    spec.max_attempts = 2;
    spec.backoff = Backoff::fixed(HOUR).expect("a backoff");
    spec
});

static WORKERS: LazyLock<Vec<WorkerId>> = LazyLock::new(|| {
    let worker = |n: u8| n.to_string().parse().expect("a worker");
    (0..16).map(worker).collect()
});

fn null() -> Json {
    json(&()).expect("null")
}

fn at(time: u8) -> Timestamp {
    BEGINNING + HOUR * u32::from(time)
}

fn small<T: TryInto<u8>>(number: T) -> u8 {
    number.try_into().ok().expect("the model is small")
}

/// Where a job is; times in hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Waits for its time.
    Scheduled(u8),
    /// Waits for a worker.
    Queued,
    /// The worker of this id has it.
    Running(u8),
    /// Waits for its next attempt.
    Retrying(u8),
    /// Ended well.
    Succeeded,
    /// Given up on.
    Dead,
    /// Ended because somebody asked for it.
    Cancelled,
}

/// A record: what of a life decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rec {
    /// Its state.
    pub place: Place,
    /// The attempt that runs, comes next, or was last.
    pub attempt: u8,
    /// The fence of the latest claim.
    pub fence: u8,
    /// Lost workers.
    pub crashes: u8,
    /// Somebody asked the running attempt to stop.
    pub cancel: bool,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msg {
    /// Which attempt it starts.
    pub attempt: u8,
    /// How much of the job's history it knows.
    pub fence: u8,
    /// Not before; 0 is at once.
    pub due: u8,
    /// Carries a redrive.
    pub redrive: bool,
    /// Stands in for an acknowledged one.
    pub guard: bool,
}

/// A transition that was made from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Move {
    /// The record it was made from.
    pub from: Rec,
    /// What is to be written.
    pub to: Rec,
    /// It ends an attempt.
    pub ended: bool,
}

/// What the arrival of a message means.
#[derive(Debug, Clone, Copy)]
pub enum Decision {
    /// Claim the attempt that the record names.
    Claim,
    /// Write this, then look again.
    Apply(Move),
    /// The job has ended.
    Ended,
    /// Come again later.
    PutOff,
}

impl Rec {
    /// As it was submitted.
    pub fn first(due: u8, now: u8) -> Self {
        Self::of(&if due > now {
            Life::scheduled(at(due))
        } else {
            Life::queued()
        })
    }

    /// From the product's type.
    pub fn of(life: &Life) -> Self {
        let hours = |due: Timestamp| small(due.since(BEGINNING).as_secs().div_ceil(3600));
        let place = match &life.state {
            State::Blocked | State::Queued => Place::Queued,
            State::Scheduled { due } => Place::Scheduled(hours(*due)),
            State::Running { worker, .. } => Place::Running(worker.parse().expect("a number")),
            State::Retrying { due } => Place::Retrying(hours(*due)),
            State::Succeeded { .. } => Place::Succeeded,
            State::Dead { .. } => Place::Dead,
            State::Cancelled { .. } => Place::Cancelled,
        };
        Self {
            place,
            attempt: small(life.attempt),
            fence: small(life.fence.0),
            crashes: small(life.crashes),
            cancel: life.cancel_requested,
        }
    }

    /// As the product's type.
    pub fn life(&self) -> Life {
        let finished = BEGINNING;
        let mut life = Life::queued();
        life.state = match self.place {
            Place::Scheduled(due) => State::Scheduled { due: at(due) },
            Place::Queued => State::Queued,
            Place::Running(worker) => State::Running {
                worker: WORKERS[usize::from(worker)].clone(),
                began: BEGINNING,
            },
            Place::Retrying(due) => State::Retrying { due: at(due) },
            Place::Succeeded => State::Succeeded {
                finished,
                result: null(),
            },
            Place::Dead => State::Dead {
                finished,
                reason: Reason::Exhausted,
            },
            Place::Cancelled => State::Cancelled { finished },
        };
        life.attempt = u32::from(self.attempt);
        life.fence = Fence(u64::from(self.fence));
        life.crashes = u32::from(self.crashes);
        life.cancel_requested = self.cancel;
        life
    }

    /// It has ended.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self.place,
            Place::Succeeded | Place::Dead | Place::Cancelled
        )
    }

    /// Who has it.
    pub const fn owner(&self) -> Option<u8> {
        match self.place {
            Place::Running(worker) => Some(worker),
            _ => None,
        }
    }

    /// When it may start, if it has a time of its own.
    pub const fn due(&self) -> u8 {
        match self.place {
            Place::Scheduled(due) | Place::Retrying(due) => due,
            _ => 0,
        }
    }

    /// What a compare-and-set compares is the same.
    pub fn same_version(&self, other: &Self) -> bool {
        self == other || self.life().version() == other.life().version()
    }

    /// A transition of the product.
    pub fn step(
        &self,
        transition: impl FnOnce(&Life) -> Result<life::Step, life::Illegal>,
    ) -> Option<Move> {
        transition(&self.life())
            .ok()
            .map(|step| Move::of(*self, &step))
    }

    /// What `claim` in a store makes of it, for a message's `attempt`; nothing if it is held.
    pub fn claimed(&self, attempt: u8, worker: u8, clock: u8, now: u8) -> Option<Self> {
        let life = self.life();
        let grants = life.state.kind().is_claimable()
            && self.attempt == attempt
            && life.state.due().is_none_or(|due| due <= at(now));
        let fence = life.fence.next(u64::from(clock));
        let worker = WORKERS[usize::from(worker)].clone();
        let step = grants.then(|| life.claim(worker, fence, at(now)))?;
        step.ok().map(|step| Self::of(&step.life))
    }

    /// [`life::arrive`]
    pub fn arrive(&self, msg: &Msg, owner: Owner, now: u8) -> Decision {
        let record = Record::new(SPEC.clone(), self.life(), BEGINNING);
        let mut envelope = Envelope::first(SPEC.clone(), (msg.due > 0).then(|| at(msg.due)));
        envelope.attempt = u32::from(msg.attempt);
        envelope.fence = Fence(u64::from(msg.fence));
        (envelope.guard, envelope.redrive) = (msg.guard, msg.redrive);
        match life::arrive(&record, &envelope, owner, at(now)) {
            Arrival::Claim => Decision::Claim,
            Arrival::Apply(step) => Decision::Apply(Move::of(*self, &step)),
            Arrival::Ended => Decision::Ended,
            Arrival::PutOff(_) => Decision::PutOff,
            Arrival::Keep(_) => unreachable!("a second look is a look of its own"),
            Arrival::Conflict | Arrival::Edit(_) => {
                unreachable!("there is one job, and nobody edits it")
            }
        }
    }

    /// [`life::judge`]
    pub fn judge(&self, ended: Ended, now: u8) -> Move {
        let step = life::judge(&self.life(), &SPEC, ended, at(now), 1.0).expect("it runs");
        Move::of(*self, &step)
    }

    /// What the janitor makes of an orphan: as in `Protocol::take_orphans`.
    pub fn orphaned(&self, me: u8, now: u8) -> Option<Move> {
        self.step(|life| {
            if self.owner() == Some(me) {
                life.disown(at(now))
            } else if life::crash_limit_reached(life, &SPEC) {
                life.lose_for_good(at(now))
            } else {
                life.lose(at(now))
            }
        })
    }

    /// [`life::reassert`] of the attempt at `self`.
    pub fn reasserted(&self, stored: &Self) -> Option<Move> {
        let step = life::reassert(&self.life(), &stored.life())?;
        Some(Move::of(*stored, &step))
    }

    /// What a wish to cancel makes of it: as in `Protocol::cancel`.
    pub fn cancelled(&self, now: u8) -> Option<Move> {
        let asked = self.step(Life::request_cancel);
        asked.or_else(|| self.step(|life| life.cancel(at(now))))
    }

    /// A message for the attempt that it names: as `Protocol::vehicle`.
    pub const fn vehicle(&self) -> Msg {
        Msg {
            attempt: self.attempt,
            fence: self.fence,
            due: self.due(),
            redrive: false,
            guard: false,
        }
    }
}

impl Msg {
    /// The record that `Protocol::recreated` makes of it.
    pub fn recreated(&self, now: u8) -> Rec {
        Rec {
            attempt: self.attempt,
            fence: self.fence,
            ..Rec::first(self.due, now)
        }
    }
}

impl Move {
    fn of(from: Rec, step: &life::Step) -> Self {
        Self {
            from,
            to: Rec::of(&step.life),
            ended: step.ended.is_some(),
        }
    }

    fn step(&self) -> life::Step {
        let ended = Attempt {
            number: u32::from(self.from.attempt),
            fence: Fence(u64::from(self.from.fence)),
            worker: WORKERS[0].clone(),
            started: BEGINNING,
            finished: BEGINNING,
            outcome: Outcome::Released,
            error: None,
            log: String::new(),
        };
        life::Step {
            from: self.from.life().version(),
            life: self.to.life(),
            ended: self.ended.then_some(ended),
        }
    }

    /// [`life::settle`]: what is to be written instead; `Ok(None)` if it is written already, `Err`
    /// if it no longer counts.
    pub fn settle(&self, stored: &Rec) -> Result<Option<Self>, ()> {
        match life::settle(&self.step(), &stored.life()) {
            Settle::Written => Ok(None),
            Settle::Instead(step) => Ok(Some(Self::of(*stored, &step))),
            Settle::Refused => Err(()),
        }
    }
}

/// How a handler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// It returns a result.
    Well,
    /// It fails.
    Badly,
    /// It stops because it was asked to.
    Asked,
    /// The worker stops, and gives the attempt back.
    Released,
}

impl How {
    /// As the product's type.
    pub fn ended(self) -> Ended {
        match self {
            Self::Well => Ended::Succeeded(null()),
            Self::Badly => Ended::Failed(Failure::retry("by plan")),
            Self::Asked => Ended::Cancelled { forced: false },
            Self::Released => Ended::Released,
        }
    }
}
