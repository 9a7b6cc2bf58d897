//! What can happen next.

use crate::compact::How;

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Luck {
    /// As it should.
    Fine,
    /// It is carried out, and its answer is lost.
    Unheard,
    /// It is not carried out, and nobody knows.
    Vain,
}

/// What can happen next. Each is one call, or one event outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Whoever submits goes on.
    Submit(Luck),
    /// A message is delivered to a worker.
    Deliver {
        /// To whom.
        worker: usize,
        /// Which one.
        msg: usize,
    },
    /// A task of a worker makes its next call.
    Step(usize, usize, Luck),
    /// The handler of a task ends.
    End(usize, usize, How),
    /// A task publishes a guard.
    Guard(usize, usize, Luck),
    /// A worker beats, and hears what it should know.
    Beat(usize),
    /// A worker's janitor looks for an orphan.
    Sweep(usize),
    /// A worker looks for a job that waits beyond its turn.
    Overdue(usize),
    /// A worker's heartbeat, janitor or overdue loop makes its next call.
    Other(usize, Luck),
    /// An hour passes.
    Tick,
    /// A worker that does not beat is taken for dead.
    Fall(u8),
    /// Whoever cancels goes on.
    Cancel,
    /// Whoever redrives goes on.
    Redrive(Luck),

    /// Somebody wants to cancel the job.
    AskCancel,
    /// Somebody wants to send it round again.
    AskRedrive,
    /// A worker is killed, and starts again.
    Crash(usize),
    /// Whoever submits is killed.
    CrashSubmit,
    /// Whoever redrives is killed.
    CrashRedrive,
    /// A worker freezes, and is taken for dead. Until it wakes and beats, its other actions may
    /// or may not happen, like all actions here.
    Freeze(usize),
    /// A worker loses its consumer.
    Cut(usize),
    /// A message is delivered twice.
    Copy(usize),
    /// A message is delivered before its time.
    Early {
        /// To whom.
        worker: usize,
        /// Which one.
        msg: usize,
    },
    /// The store will go back to this record.
    Keep,
    /// The store goes back.
    Rollback,
    /// The store loses everything.
    Wipe,
}

impl Action {
    /// Without faults and wishes, these do not happen.
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Submit(luck)
            | Self::Step(_, _, luck)
            | Self::Guard(_, _, luck)
            | Self::Other(_, luck)
            | Self::Redrive(luck) => !matches!(luck, Luck::Fine),
            Self::End(_, _, how) => matches!(how, How::Released),
            Self::Deliver { .. }
            | Self::Beat(_)
            | Self::Sweep(_)
            | Self::Overdue(_)
            | Self::Tick
            | Self::Fall(_)
            | Self::Cancel => false,
            _ => true,
        }
    }
}
