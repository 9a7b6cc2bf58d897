//! Jobs, put together from what was written down about each.

use std::collections::{BTreeMap, HashMap};

use super::super::{
    evidence::{Evidence, Final},
    ledger::{Entry, What},
};

/// One attempt, as the ledger shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Run<'e> {
    pub(super) process: &'e str,
    pub(super) fence: u64,
    pub(super) start: u64,
    pub(super) effect: Option<u64>,
    /// Returned something: when, and what.
    pub(super) end: Option<(u64, What)>,
    pub(super) steps: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Job<'e> {
    pub(super) attempted: bool,
    pub(super) answer: Option<What>,
    pub(super) cancel_asked: Option<u64>,
    pub(super) cancelled: Option<u64>,
    pub(super) runs: Vec<Run<'e>>,
    pub(super) last: Option<&'e Final>,
    /// The queue of dead letters holds it.
    pub(super) dead_letter: bool,
}

impl Job<'_> {
    pub(super) fn done(&self) -> bool {
        self.runs
            .iter()
            .any(|run| matches!(run.end, Some((_, What::Done))))
    }

    pub(super) fn effects(&self) -> usize {
        self.runs.iter().filter(|run| run.effect.is_some()).count()
    }

    pub(super) fn last_seen(&self) -> u64 {
        let ends = self
            .runs
            .iter()
            .map(|run| run.end.map_or(run.start, |end| end.0));
        ends.max().unwrap_or(0)
    }
}

/// The jobs of a run.
pub(super) fn gather(evidence: &Evidence) -> BTreeMap<u64, Job<'_>> {
    let mut jobs: BTreeMap<u64, Job<'_>> = BTreeMap::new();
    for entry in &evidence.submits {
        let job = jobs.entry(entry.job).or_default();
        match entry.what {
            What::Attempted => job.attempted = true,
            What::CancelAsked => job.cancel_asked = Some(entry.at_us),
            What::Cancelled => job.cancelled = Some(entry.at_us),
            What::CancelOpen => {}
            answer => job.answer = Some(answer),
        }
    }
    for (process, entries) in &evidence.ledgers {
        for (number, run) in runs(process, entries) {
            jobs.entry(number).or_default().runs.push(run);
        }
    }
    for last in &evidence.finals {
        jobs.entry(last.job).or_default().last = Some(last);
    }
    for number in &evidence.run.dead_letters {
        jobs.entry(*number).or_default().dead_letter = true;
    }
    for job in jobs.values_mut() {
        job.runs.sort_by_key(|run| (run.fence, run.start));
    }
    jobs
}

fn runs<'e>(process: &'e str, entries: &'e [Entry]) -> Vec<(u64, Run<'e>)> {
    let mut places = HashMap::new();
    let mut runs: Vec<(u64, Run<'_>)> = Vec::new();
    for entry in entries {
        if entry.what == What::Start {
            places.insert((entry.job, entry.fence), runs.len());
            runs.push((
                entry.job,
                Run {
                    process,
                    fence: entry.fence,
                    start: entry.at_us,
                    ..Run::default()
                },
            ));
        }
        let Some(place) = places.get(&(entry.job, entry.fence)) else {
            continue;
        };
        let run = &mut runs[*place].1;
        match entry.what {
            What::Effect => run.effect = Some(entry.at_us),
            What::Step => run.steps.push(entry.attempt),
            What::Done | What::Failed | What::Stopped => run.end = Some((entry.at_us, entry.what)),
            _ => {}
        }
    }
    runs
}
