//! How long the jobs of killed processes waited.

use std::collections::{BTreeMap, HashSet};

use super::{
    super::evidence::{Event, Hit},
    Verdict,
    causes::{Faults, SILENCE_US},
    jobs::Job,
};

/// How long the jobs of killed processes waited for their next run.
pub(super) fn recovery(verdict: &mut Verdict, jobs: &BTreeMap<u64, Job<'_>>, faults: &Faults<'_>) {
    let (mut calm, mut all) = (Vec::new(), Vec::new());
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
            }
        }
    }
    verdict.kills = (faults.kills.len() as u64, busy.len() as u64);
    verdict.restart_ms = spread(calm);
    verdict.restart_all_ms = spread(all);
}

fn spread(mut waits: Vec<u64>) -> Option<[u64; 3]> {
    waits.sort_unstable();
    let last = waits.len().checked_sub(1)?;
    Some([waits[last / 2], waits[last * 99 / 100], waits[last]])
}
