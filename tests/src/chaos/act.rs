//! What can be done to the fleet.

use serde::{Deserialize, Serialize};

use crate::proxy::Mode;

/// A connection, by its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// To RabbitMQ.
    Amqp,
    /// To Redis.
    Redis,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// SIGKILL.
    Kill {
        /// Whom, or the next one that runs.
        worker: usize,
        /// Started again after this.
        back_ms: u64,
    },
    /// Started anew, to crash when it comes to this point.
    Point {
        /// Whom, or the next one that runs.
        worker: usize,
        /// Where.
        point: &'static str,
    },
    /// SIGSTOP, later SIGCONT.
    Pause {
        /// Whom, or the next one that runs.
        worker: usize,
        /// For how long.
        ms: u64,
    },
    /// The connections of one process behave like this.
    Cut {
        /// Whose; the producer's, past the last worker.
        worker: usize,
        /// Which.
        link: Link,
        /// How.
        mode: Mode,
        /// For how long.
        ms: u64,
    },
    /// Its wall clock jumps.
    Clock {
        /// By so much.
        seconds: i64,
        /// For how long.
        ms: u64,
    },
    /// SIGKILL, and a start.
    RabbitKill,
    /// `stop_app`, `start_app`.
    RabbitStopApp,
    /// SIGSTOP, later SIGCONT.
    RabbitPause {
        /// For how long.
        ms: u64,
    },
    /// It believes to be short of memory, or of disk, and takes nothing.
    Alarm {
        /// Memory; else disk.
        memory: bool,
        /// For how long.
        ms: u64,
    },
    /// SIGKILL, and a start.
    RedisKill,
    /// `SHUTDOWN NOSAVE`, and a start.
    RedisShutdown,
    /// SIGKILL, and a start without the end of its log.
    RedisTruncate {
        /// How much of it.
        bytes: u64,
    },
    /// `FLUSHALL`.
    RedisFlush,
    /// `CLIENT PAUSE`.
    RedisSlow {
        /// For how long.
        ms: u64,
    },
    /// Nothing more fits on the disk of the store.
    FullDisk {
        /// For how long.
        ms: u64,
    },
    /// SIGKILL of the node that leads the queue, and a start.
    LeaderKill,
    /// SIGSTOP of the node that leads the queue, later SIGCONT: the others see it leave.
    LeaderPause {
        /// For how long.
        ms: u64,
    },
    /// The primary Redis goes, and comes back when another one has taken over.
    PrimaryGone {
        /// SIGKILL; else SIGSTOP.
        kill: bool,
    },
    /// Each worker is told to drain, and another one starts in its place.
    Upgrade,
    /// Looks into a copy of the file, as it would be after a crash of the machine.
    Torn {
        /// Where its log breaks off, between what must be there and its end.
        cut: Option<f64>,
    },
}
