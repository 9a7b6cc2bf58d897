//! Judges a run by what it left behind. Pure: no clock, no I/O, nothing of the product.
//!
//! A job's *runs* are the attempts that its ledger shows, oldest claim first. A run that had its
//! effect and is followed by another one is a duplicate; it is explained by what happened in
//! between to the process or the store, or it is a bug.

mod causes;
mod jobs;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{evidence::Evidence, ledger::What};
use causes::Faults;
use jobs::{Job, Run, gather};
pub use recovery::Waits;
use recovery::recovery;

/// A job that this many workers were lost under is given up.
const CRASH_LIMIT: u32 = 3;

/// Counts that must be zero, and figures.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Jobs that were to be submitted.
    pub attempted: u64,
    /// Told to be accepted.
    pub accepted: u64,
    /// Told to be refused.
    pub refused: u64,
    /// Nobody could tell.
    pub unknown: u64,
    /// Of those, how many ran.
    pub recovered: u64,
    /// Did what they should, whatever the store says.
    pub completed: u64,
    /// Ended because they were cancelled.
    pub cancelled: u64,
    /// Ended by the crash limit: three workers were lost under them.
    pub given_up: u64,
    /// Must be zero, by name.
    pub safety: BTreeMap<&'static str, u64>,
    /// Some of the jobs behind each of these.
    pub examples: BTreeMap<&'static str, Vec<u64>>,
    /// Jobs whose effect was repeated, by the class of the first repetition.
    pub duplicates: BTreeMap<&'static str, u64>,
    /// Repeated effects, in percent of what completed.
    pub repeated_percent: f64,
    /// Steps done again after their checkpoint was not saved.
    pub steps_repeated: u64,
    /// Kills of processes, and how many of them had work in hand.
    pub kills: (u64, u64),
    /// From a kill to the next run of its jobs, where the servers answered meanwhile.
    pub restart: Option<Waits>,
    /// Of these, jobs whose delivery the killed one still held: it came back with the connection.
    pub restart_held: Option<Waits>,
    /// From a kill to the next run of its jobs, of all.
    pub restart_all: Option<Waits>,
    /// From the last fault until no job was open, in ms.
    pub drain_ms: Option<u64>,
    /// Completed jobs a second while jobs were submitted.
    pub rate: u64,
}

/// All counts that must be zero.
pub const SAFETY: [&str; 12] = [
    "lost",
    "unexpected",
    "stuck",
    "unexplained",
    "accepted_twice",
    "old_fence_accepted",
    "cancelled_but_started",
    "succeeded_without_end",
    "end_not_recorded",
    "dead_without_cause",
    "steps_missing",
    "seen_by_driver",
];

/// Judges it.
pub fn check(evidence: &Evidence) -> Verdict {
    let jobs = gather(evidence);
    let faults = Faults::of(&evidence.events);
    let mut verdict = Verdict::default();
    verdict.safety.extend(SAFETY.map(|name| (name, 0)));
    for (number, job) in &jobs {
        count_answer(&mut verdict, job);
        for wrong in judge(&mut verdict, job, &faults) {
            blame(&mut verdict, wrong, *number);
        }
    }
    *verdict.safety.entry("seen_by_driver").or_default() += evidence.run.seen.len() as u64;
    let repeated: u64 = verdict.duplicates.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    if verdict.completed > 0 {
        verdict.repeated_percent = 100.0 * repeated as f64 / verdict.completed as f64;
    }
    recovery(&mut verdict, &jobs, &faults);
    let run = &evidence.run;
    verdict.drain_ms = run
        .drained_us
        .map(|at| at.saturating_sub(run.calm_us) / 1000);
    let submitting = run.submitted_us.saturating_sub(run.began_us) / 1000;
    verdict.rate = verdict.completed * 1000 / submitting.max(1);
    verdict
}

fn blame(verdict: &mut Verdict, wrong: &'static str, job: u64) {
    *verdict.safety.entry(wrong).or_default() += 1;
    let examples = verdict.examples.entry(wrong).or_default();
    if examples.len() < 10 {
        examples.push(job);
    }
}

fn count_answer(verdict: &mut Verdict, job: &Job<'_>) {
    verdict.attempted += u64::from(job.attempted);
    match job.answer {
        Some(What::Accepted) => verdict.accepted += 1,
        Some(What::Refused) => verdict.refused += 1,
        // A submit that was never answered is as unknown as one that nobody can tell of.
        _ if job.attempted => {
            verdict.unknown += 1;
            verdict.recovered += u64::from(job.done());
        }
        _ => {}
    }
}

/// What is wrong with this job.
fn judge(verdict: &mut Verdict, job: &Job<'_>, faults: &Faults<'_>) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if !job.runs.is_empty() && (!job.attempted || job.answer == Some(What::Refused)) {
        wrong.push("unexpected");
    }
    verdict.completed += u64::from(job.done());
    if let Some(bad) = outcome(verdict, job, faults) {
        wrong.push(bad);
    }
    if let Some(at) = job.cancelled {
        let forgotten = faults.rollback(at, u64::MAX);
        if job.runs.iter().any(|run| run.start > at) && !forgotten {
            wrong.push("cancelled_but_started");
        }
    }
    wrong.extend(repeated(verdict, job, faults));
    wrong.extend(accepted(job, faults));
    wrong.extend(steps(verdict, job));
    wrong
}

/// Whether it came to the end that it should have.
fn outcome(verdict: &mut Verdict, job: &Job<'_>, faults: &Faults<'_>) -> Option<&'static str> {
    let accepted = job.answer == Some(What::Accepted);
    let Some(last) = job.last else {
        // Ended records are gone with the store; an accepted job must have run all the same.
        let forgotten = faults.rollback(0, u64::MAX);
        return match (job.done(), job.cancel_asked.is_some()) {
            (true, _) if !faults.rollback(job.last_seen(), u64::MAX) => Some("end_not_recorded"),
            (true, _) => None,
            (false, true) if forgotten => None,
            // It was dead before that; its letter remembers.
            (false, false)
                if forgotten && job.dead_letter && job.runs.len() >= CRASH_LIMIT as usize =>
            {
                verdict.given_up += 1;
                None
            }
            (false, _) => accepted.then_some("lost"),
        };
    };
    if !last.is_terminal() {
        return Some("stuck");
    }
    match last.state.as_str() {
        "succeeded" => (!job.done()).then_some("succeeded_without_end"),
        "cancelled" => {
            verdict.cancelled += 1;
            job.cancel_asked.is_none().then_some("lost")
        }
        _ => {
            let limit = last.reason.as_deref() == Some("crashed") && last.crashes >= CRASH_LIMIT;
            verdict.given_up += u64::from(limit);
            (!limit).then_some("dead_without_cause")
        }
    }
}

/// Sorts what ran again into its class: a repetition if it had its effect again, and in need of a
/// cause even if not, unless it had failed.
fn repeated(verdict: &mut Verdict, job: &Job<'_>, faults: &Faults<'_>) -> Option<&'static str> {
    let won = job.last.map_or(&[][..], |last| &last.won);
    let again = job
        .runs
        .windows(2)
        .filter(|pair| pair[0].effect.is_some() || !matches!(pair[0].end, Some((_, What::Failed))));
    let class = |pair: &[Run<'_>]| faults.class(&pair[0], &pair[1], won.contains(&pair[0].fence));
    let classes: Vec<_> = again.map(class).collect();
    let unexplained = classes.iter().find(|class| **class == "unexplained");
    let worst = unexplained.or(classes.first())?;
    if job.effects() > 1 {
        *verdict.duplicates.entry(worst).or_default() += 1;
    }
    unexplained.copied()
}

/// Whether exactly one success was accepted, and that of the newest run.
fn accepted(job: &Job<'_>, faults: &Faults<'_>) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    let Some(last) = job.last else { return wrong };
    if last.won.len() > 1 {
        wrong.push("accepted_twice");
    }
    let newest = job.runs.last();
    if let (Some(won), Some(newest)) = (last.won.iter().max(), newest)
        && newest.fence > *won
        && !faults.rollback(newest.start, u64::MAX)
    {
        wrong.push("old_fence_accepted");
    }
    wrong
}

/// No step may be missing that a later one, or the end, builds on.
fn steps(verdict: &mut Verdict, job: &Job<'_>) -> Option<&'static str> {
    let mut times: BTreeMap<u32, u64> = BTreeMap::new();
    for step in job.runs.iter().flat_map(|run| &run.steps) {
        *times.entry(*step).or_default() += 1;
    }
    verdict.steps_repeated += times.values().map(|times| times - 1).sum::<u64>();
    let last = times.keys().next_back()?;
    (times.len() as u64 <= u64::from(*last)).then_some("steps_missing")
}
