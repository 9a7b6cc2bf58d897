//! What is measured.

use super::Extent;

/// One row of measurements.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) jobs: usize,
    pub(super) size: usize,
    pub(super) queues: usize,
    pub(super) lanes: &'static str,
    pub(super) workers: usize,
    /// Jobs that wait already.
    pub(super) backlog: usize,
    pub(super) haul_only: bool,
    pub(super) rounds: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Submit; then work off.
    Drain,
    /// Work off while it is submitted.
    Both,
    /// From submission to start at this rate, for so many seconds.
    Latency { rate: u32, seconds: u32 },
    /// The same for critical jobs, behind a backlog of low ones of some 10 ms.
    Critical { rate: u32, seconds: u32 },
    /// Submit only: what so many jobs take in memory.
    Memory,
}

/// Slots of each worker, for each queue.
pub(super) const SLOTS: usize = 256;
/// How long a job of the backlog runs on average behind which a critical one starts.
pub(super) const LOW_MS: u64 = 10;
pub(super) const ALL_LANES: &str = "critical,high,normal,low";

fn case(name: &str, kind: Kind, jobs: usize) -> Case {
    Case {
        name: name.to_owned(),
        kind,
        jobs,
        size: 200,
        queues: 1,
        lanes: "normal",
        workers: 1,
        backlog: 0,
        haul_only: false,
        rounds: None,
    }
}

pub(super) fn of(extent: Extent) -> Vec<Case> {
    match extent {
        Extent::Quick => quick(),
        Extent::Full => full(),
    }
}

fn quick() -> Vec<Case> {
    // Long enough that starting and ending, which are measured too, do not count for much.
    let jobs = 40_000;
    vec![
        case("one queue, one lane", Kind::Drain, jobs),
        case("one queue, one lane", Kind::Both, jobs),
        Case {
            queues: 3,
            lanes: ALL_LANES,
            workers: 2,
            ..case("3 queues × 4 lanes, 2 workers", Kind::Drain, jobs)
        },
        latency(200, 5),
        critical(10_000, 5),
    ]
}

fn latency(rate: u32, seconds: u32) -> Case {
    let kind = Kind::Latency { rate, seconds };
    case(&format!("{rate}/s"), kind, (rate * seconds) as usize)
}

fn critical(backlog: usize, seconds: u32) -> Case {
    let kind = Kind::Critical { rate: 50, seconds };
    Case {
        backlog,
        haul_only: true,
        rounds: Some(1),
        ..case(
            &format!("behind {backlog} low ones"),
            kind,
            50 * seconds as usize,
        )
    }
}

fn full() -> Vec<Case> {
    // Eight workers that start and end count for more than one.
    let (jobs, many) = (40_000, 80_000);
    let mut cases = vec![
        case("one queue, one lane", Kind::Drain, jobs),
        case("one queue, one lane", Kind::Both, jobs),
        latency(200, 15),
        latency(1000, 10),
        critical(100_000, 15),
    ];
    for workers in [2, 4, 8] {
        cases.push(Case {
            queues: 3,
            lanes: ALL_LANES,
            workers,
            ..case(
                &format!("3 queues × 4 lanes, {workers} workers"),
                Kind::Drain,
                many,
            )
        });
    }
    cases.push(Case {
        queues: 3,
        lanes: ALL_LANES,
        workers: 2,
        ..case("3 queues × 4 lanes, 2 workers", Kind::Both, many)
    });
    for (size, jobs) in [(4096, jobs), (65_536, 8000)] {
        cases.push(Case {
            size,
            ..case(&format!("{} KiB each", size / 1024), Kind::Drain, jobs)
        });
    }
    cases.push(Case {
        backlog: 100_000,
        ..case("behind 100,000", Kind::Drain, jobs)
    });
    cases.push(Case {
        backlog: 1_000_000,
        haul_only: true,
        rounds: Some(1),
        ..case("behind 1,000,000", Kind::Memory, jobs)
    });
    cases
}
