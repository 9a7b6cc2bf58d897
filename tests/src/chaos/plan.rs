//! The plan of a run: what jobs do, and what is done to the fleet when. All of it follows from the
//! seed, each part from a generator of its own, so that one does not shift the other.

use std::time::Duration;

use fastrand::Rng;
use haul_common::job::Lane;

use super::{
    act::{Act, Link},
    load::{Chore, Pace},
};
use crate::proxy::Mode;

/// How a run is to be.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its name.
    pub form: &'static str,
    /// One SQLite file instead of servers.
    pub embedded: bool,
    /// Clusters instead of single servers.
    pub cluster: bool,
    /// Worker processes.
    pub workers: usize,
    /// Jobs at once in each.
    pub slots: u32,
    /// What is submitted.
    pub pace: Pace,
    /// What jobs do.
    pub mix: Mix,
    /// How long all may take to be done after the last fault.
    pub drain: Duration,
    /// Faults follow each other within this time.
    pub faults_for: Duration,
    /// How often each kind of fault.
    pub counts: Counts,
}

/// What jobs do.
#[derive(Debug, Clone, Copy)]
pub enum Mix {
    /// Mostly quick ones.
    Quick {
        /// Long jobs and jobs with steps, in each ten thousand.
        slow: u64,
    },
    /// Few, that are long enough for a fault to find them at work.
    Slow,
}

/// How often each kind of fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Workers killed before anything else happens: how soon their jobs start again.
    pub first_kills: u32,
    /// Workers killed at random.
    pub kills: u32,
    /// Workers that crash at a named point.
    pub points: u32,
    /// Workers that stand still for longer than their lease.
    pub pauses: u32,
    /// Connections that are cut or swallowed.
    pub cuts: u32,
    /// Workers whose clock jumps.
    pub clocks: u32,
    /// RabbitMQ killed, stopped and started, or standing still.
    pub rabbits: u32,
    /// Redis killed, or shut down.
    pub redises: u32,
    /// Redis loses the end of its log.
    pub truncations: u32,
    /// Redis loses everything.
    pub flushes: u32,
    /// Redis is slow.
    pub slows: u32,
    /// RabbitMQ is short of memory, or of disk.
    pub alarms: u32,
    /// The store's disk is full.
    pub full_disks: u32,
    /// Copies of the file as a crash might leave it.
    pub torn: u32,
    /// The node of a cluster that leads a queue is killed, or cut off by standing still.
    pub leaders: u32,
    /// The primary Redis is killed, or stands still, until another one takes over.
    pub primaries: u32,
    /// All workers are replaced, one after the other.
    pub upgrades: u32,
}

/// One thing to do, not before its time.
pub type Step = (Duration, Act);

/// The plan's faults: each track is carried out one after the other, the tracks beside each other.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    /// Workers killed, and crashed at points.
    pub kills: Vec<Step>,
    /// Workers paused, and given a wrong clock.
    pub pauses: Vec<Step>,
    /// Connections cut.
    pub cuts: Vec<Step>,
    /// What happens to the servers or the file.
    pub servers: Vec<Step>,
}

/// Points at which workers crash.
const POINTS: [&str; 6] = [
    "claim.granted",
    "finish.recorded",
    "finish.published",
    "guard.published",
    "put_off.published",
    "take_orphan.recorded",
];
/// Quorum queues that are younger than this do not survive the death of their node.
const QUEUES_SETTLE: Duration = Duration::from_secs(5);
/// When the first kills begin: nobody is called dead before the store is older than a lease.
const FIRST_AT: Duration = Duration::from_secs(15);
/// Between the first kills.
const FIRST_EVERY: Duration = Duration::from_secs(2);
/// By then all jobs of the workers that were killed first run again, those too for which a lease
/// had to end.
const FIRST_OVER: Duration = Duration::from_secs(14);

/// What job number `n` does, and in which lane.
pub fn chore(seed: u64, mix: Mix, n: u64) -> (Chore, Lane) {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ n);
    let lane = match rng.u8(0..100) {
        0..5 => Lane::Critical,
        5..15 => Lane::High,
        15..90 => Lane::Normal,
        _ => Lane::Low,
    };
    let chore = match mix {
        Mix::Slow => slow(&mut rng, n),
        Mix::Quick { slow } if rng.u64(0..10_000) < slow => {
            let count = rng.u32(4..10);
            let ms = rng.u64(3000..8000);
            let steps = Chore::Steps { count, ms: 400 };
            if rng.bool() {
                Chore::Long { ms }
            } else {
                steps
            }
        }
        Mix::Quick { .. } => quick(&mut rng),
    };
    (chore, lane)
}

fn quick(rng: &mut Rng) -> Chore {
    match rng.u8(0..100) {
        0..5 => Chore::Flaky {
            fails: rng.u32(1..4),
            ms: 0,
        },
        5..7 => Chore::Delayed {
            ms: rng.u64(200..6000),
        },
        7..9 => Chore::Doomed {
            delay_ms: rng.u64(0..4000),
            cancel_ms: rng.u64(0..4000),
            ms: rng.u64(0..3000),
        },
        _ => Chore::Plain { ms: rng.u64(0..4) },
    }
}

fn slow(rng: &mut Rng, n: u64) -> Chore {
    match n % 4 {
        0 => Chore::Flaky {
            fails: 1,
            ms: rng.u64(1000..3000),
        },
        1 => Chore::Long {
            ms: rng.u64(3000..6000),
        },
        2 => Chore::Doomed {
            delay_ms: 2000,
            cancel_ms: 500,
            ms: 100,
        },
        _ => Chore::Plain {
            ms: rng.u64(10..300),
        },
    }
}

/// The faults.
pub fn tracks(seed: u64, shape: &Shape) -> Tracks {
    let rng = |track: u64| Rng::with_seed(seed ^ (track << 32));
    Tracks {
        kills: [first_kills(shape), kills(rng(1), shape)].concat(),
        pauses: pauses(rng(2), shape),
        cuts: cuts(rng(3), shape),
        servers: servers(rng(4), shape),
    }
}

/// When the faults begin that follow each other at random.
fn opening(shape: &Shape) -> Duration {
    match shape.counts.first_kills {
        0 => QUEUES_SETTLE,
        count => FIRST_AT + FIRST_EVERY * count + FIRST_OVER,
    }
}

fn first_kills(shape: &Shape) -> Vec<Step> {
    let kill = |n: u32| {
        let (worker, back_ms) = (n as usize % shape.workers, 500);
        (FIRST_AT + FIRST_EVERY * n, Act::Kill { worker, back_ms })
    };
    (0..shape.counts.first_kills).map(kill).collect()
}

/// Spreads these over the time, in an order of their own.
fn spread(mut rng: Rng, shape: &Shape, mut acts: Vec<Act>) -> Vec<Step> {
    rng.shuffle(&mut acts);
    let opening = opening(shape);
    let time = shape.faults_for.saturating_sub(opening);
    let gap = time / u32::try_from(acts.len().max(1)).unwrap_or(u32::MAX);
    let place = |(n, act)| {
        let at = gap * n + gap.mul_f64(rng.f64());
        (opening + at, act)
    };
    (0..).zip(acts).map(place).collect()
}

fn some(count: u32, act: impl FnMut(u32) -> Act) -> Vec<Act> {
    (0..count).map(act).collect()
}

fn kills(mut rng: Rng, shape: &Shape) -> Vec<Step> {
    let mut acts = some(shape.counts.kills, |_| Act::Kill {
        worker: rng.usize(0..shape.workers),
        back_ms: rng.u64(100..2000),
    });
    acts.extend(some(shape.counts.points, |n| Act::Point {
        worker: rng.usize(0..shape.workers),
        point: POINTS[n as usize % POINTS.len()],
    }));
    spread(rng, shape, acts)
}

fn pauses(mut rng: Rng, shape: &Shape) -> Vec<Step> {
    let mut acts = some(shape.counts.pauses, |_| Act::Pause {
        worker: rng.usize(0..shape.workers),
        ms: rng.u64(11_000..18_000),
    });
    acts.extend(some(shape.counts.clocks, |n| Act::Clock {
        seconds: [3600, -3600, 300, -300][n as usize % 4],
        ms: rng.u64(4000..9000),
    }));
    acts.extend(some(shape.counts.upgrades, |_| Act::Upgrade));
    spread(rng, shape, acts)
}

fn cuts(mut rng: Rng, shape: &Shape) -> Vec<Step> {
    // A short reset first: the most common of all.
    let modes = [
        Mode::Reset,
        Mode::Deaf,
        Mode::Mute,
        Mode::Reset,
        Mode::BlackHole,
        Mode::Refuse,
    ];
    let acts = some(shape.counts.cuts, |n| {
        let mode = modes[n as usize % modes.len()];
        Act::Cut {
            // The producer's connections too: it comes after the workers.
            worker: rng.usize(0..=shape.workers),
            link: if rng.bool() { Link::Amqp } else { Link::Redis },
            mode,
            ms: if mode == Mode::Reset {
                50
            } else {
                rng.u64(2000..15_000)
            },
        }
    });
    spread(rng, shape, acts)
}

fn servers(mut rng: Rng, shape: &Shape) -> Vec<Step> {
    let counts = shape.counts;
    let mut acts = some(counts.rabbits, |n| match n % 10 {
        1 | 4 | 7 => Act::RabbitStopApp,
        3 | 8 => Act::RabbitPause {
            ms: rng.u64(5000..20_000),
        },
        _ => Act::RabbitKill,
    });
    acts.extend(some(counts.redises, |n| match n % 3 {
        1 => Act::RedisShutdown,
        _ => Act::RedisKill,
    }));
    acts.extend(some(counts.truncations, |_| Act::RedisTruncate {
        bytes: rng.u64(1024..65_536),
    }));
    acts.extend(some(counts.flushes, |_| Act::RedisFlush));
    acts.extend(some(counts.slows, |_| Act::RedisSlow { ms: 5000 }));
    acts.extend(some(counts.alarms, |n| Act::Alarm {
        memory: n % 2 == 0,
        ms: 5000 + 1000 * u64::from(n),
    }));
    acts.extend(some(counts.full_disks, |_| Act::FullDisk { ms: 5000 }));
    acts.extend(some(counts.torn, |n| Act::Torn {
        // One in four as a kill would leave it: nothing may be missing.
        cut: (n % 4 != 0).then(|| rng.f64()),
    }));
    acts.extend(some(counts.leaders, |n| match n % 3 {
        // Long enough for the others to go on without it.
        2 => Act::LeaderPause { ms: 15_000 },
        _ => Act::LeaderKill,
    }));
    acts.extend(some(counts.primaries, |n| Act::PrimaryGone {
        kill: n % 2 == 0,
    }));
    spread(rng, shape, acts)
}
