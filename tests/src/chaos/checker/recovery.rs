//! How long the jobs of killed processes waited.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{
    super::evidence::{Event, Hit},
    Verdict,
    causes::{Faults, SILENCE_US},
    jobs::Job,
};

/// A run that is younger than this still has its delivery: no guard stands in yet.
const HELD_US: u64 = 1_500_000;

/// How long jobs waited, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// How many waited.
    pub jobs: usize,
    /// Half of them, at most.
    pub median_ms: u64,
    /// 99 % of them, at most.
    pub most_ms: u64,
    /// The longest.
    pub longest_ms: u64,
}

/// How long the jobs of killed processes waited for their next run.
pub(super) fn recovery(verdict: &mut Verdict, jobs: &BTreeMap<u64, Job<'_>>, faults: &Faults<'_>) {
    let (mut calm, mut held, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut busy = HashSet::new();
    for job in jobs.values() {
        for pair in job.runs.windows(2) {
            let Some(killed) = faults.killed(pair[0].process) else {
                continue;
            };
            if pair[0].end.is_some() || killed < pair[0].start || pair[1].start < killed {
                continue;
            }
            busy.insert(pair[0].process);
            let wait = (pair[1].start - killed) / 1000;
            all.push(wait);
            // Just after the store came back, nobody is called dead for a lease.
            let before = killed.saturating_sub(2 * SILENCE_US);
            let disturbed = |event: &&Event| event.within(before, pair[1].start);
            let own = |event: &Event| {
                !matches!(event.hit, Hit::Killed(_) | Hit::Ended(_))
                    && event.within(before, pair[1].start)
            };
            if !faults.global.iter().any(disturbed) && !faults.of_process(pair[1].process).any(own)
            {
                calm.push(wait);
                if killed - pair[0].start < HELD_US {
                    held.push(wait);
                }
            }
        }
    }
    verdict.kills = (faults.kills.len() as u64, busy.len() as u64);
    verdict.restart = spread(calm);
    verdict.restart_held = spread(held);
    verdict.restart_all = spread(all);
}

fn spread(mut waits: Vec<u64>) -> Option<Waits> {
    waits.sort_unstable();
    let jobs = waits.len();
    // Of fewer than a hundred, 99 % is the longest.
    let at = |percent: usize| {
        waits
            .get((jobs * percent).div_ceil(100).checked_sub(1)?)
            .copied()
    };
    Some(Waits {
        jobs,
        median_ms: at(50)?,
        most_ms: at(99)?,
        longest_ms: at(100)?,
    })
}
