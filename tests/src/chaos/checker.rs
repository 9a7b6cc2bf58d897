//! Judges a run by what it left behind. Pure: no clock, no I/O, nothing of the product.
//!
//! A job's *runs* are the attempts that its ledger shows, oldest claim first. A run that had its
//! effect and is followed by another one is a duplicate; it is explained by what happened in
//! between to the process or the store, or it is a bug.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    evidence::{Event, Evidence, Final, Hit},
    ledger::{Entry, What},
};

/// A worker that is silent for this long may be taken for dead: its lease less a heartbeat.
const SILENCE_US: u64 = 6_500_000;
/// An end that is this old when its process is killed should have been recorded, if its backends
/// answered.
const RECORDED_US: u64 = 2_000_000;

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
    /// From a kill to the next run of its jobs, in ms: median, 99 %, longest; of jobs whose
    /// servers answered meanwhile.
    pub restart_ms: Option<[u64; 3]>,
    /// The same, of all jobs.
    pub restart_all_ms: Option<[u64; 3]>,
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

/// One attempt, as the ledger shows it.
#[derive(Debug, Clone, Default)]
struct Run<'e> {
    process: &'e str,
    fence: u64,
    start: u64,
    effect: Option<u64>,
    /// Returned something: when, and whether that was a success.
    end: Option<(u64, bool)>,
    steps: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
struct Job<'e> {
    attempted: bool,
    answer: Option<What>,
    cancel_asked: Option<u64>,
    cancelled: Option<u64>,
    runs: Vec<Run<'e>>,
    last: Option<&'e Final>,
}

impl Job<'_> {
    fn done(&self) -> bool {
        self.runs
            .iter()
            .any(|run| matches!(run.end, Some((_, true))))
    }

    fn effects(&self) -> usize {
        self.runs.iter().filter(|run| run.effect.is_some()).count()
    }

    fn last_seen(&self) -> u64 {
        let ends = self
            .runs
            .iter()
            .map(|run| run.end.map_or(run.start, |end| end.0));
        ends.max().unwrap_or(0)
    }
}

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

fn gather(evidence: &Evidence) -> BTreeMap<u64, Job<'_>> {
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
            What::Done => run.end = Some((entry.at_us, true)),
            What::Failed | What::Stopped => run.end = Some((entry.at_us, false)),
            _ => {}
        }
    }
    runs
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
            let limit = last.reason.as_deref() == Some("crashed") && last.crashes >= 3;
            verdict.given_up += u64::from(limit);
            (!limit).then_some("dead_without_cause")
        }
    }
}

/// Sorts what ran again after its effect into its class: a repetition if it came to the effect
/// again, and in need of a cause even if it did not.
fn repeated(verdict: &mut Verdict, job: &Job<'_>, faults: &Faults<'_>) -> Option<&'static str> {
    let first = job.runs.iter().position(|run| run.effect.is_some())?;
    let class = faults.class(&job.runs[first], job.runs.get(first + 1)?);
    if job.effects() > 1 {
        *verdict.duplicates.entry(class).or_default() += 1;
    }
    (class == "unexplained").then_some("unexplained")
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

/// What was done to the fleet, ready to be asked.
struct Faults<'e> {
    by_process: HashMap<&'e str, Vec<&'e Event>>,
    global: Vec<&'e Event>,
    kills: Vec<(&'e str, u64)>,
}

impl<'e> Faults<'e> {
    fn of(events: &'e [Event]) -> Self {
        let mut faults = Self {
            by_process: HashMap::new(),
            global: Vec::new(),
            kills: Vec::new(),
        };
        for event in events {
            match &event.hit {
                Hit::Broker | Hit::Store | Hit::Rollback => faults.global.push(event),
                Hit::Killed(process)
                | Hit::Ended(process)
                | Hit::Paused(process)
                | Hit::NoBroker(process)
                | Hit::NoStore(process)
                | Hit::Clock(process) => {
                    faults.by_process.entry(process).or_default().push(event);
                    if matches!(event.hit, Hit::Killed(_)) {
                        faults.kills.push((process, event.from_us));
                    }
                }
            }
        }
        faults
    }

    fn rollback(&self, from: u64, until: u64) -> bool {
        let back = |event: &&&Event| event.hit == Hit::Rollback && event.within(from, until);
        self.global.iter().find(back).is_some()
    }

    fn of_process(&self, process: &str) -> impl Iterator<Item = &Event> {
        let own = self.by_process.get(process).into_iter().flatten();
        own.copied()
    }

    fn killed(&self, process: &str) -> Option<u64> {
        let killed = |event: &&Event| matches!(event.hit, Hit::Killed(_) | Hit::Ended(_));
        self.of_process(process)
            .find(killed)
            .map(|event| event.from_us)
    }

    /// Why `next` ran although `first` had its effect.
    fn class(&self, first: &Run<'_>, next: &Run<'_>) -> &'static str {
        if let Some(killed) = self.killed(first.process)
            && killed <= next.start
            && self.could_not_record(first, killed)
        {
            return "crash";
        }
        if self.rollback(first.start, next.start) {
            return "rollback";
        }
        let silent = |event: &Event| {
            matches!(event.hit, Hit::Paused(_) | Hit::NoStore(_))
                && event.within(first.start, next.start)
                && event.until_us - event.from_us >= SILENCE_US
        };
        if self.of_process(first.process).any(silent) {
            return "overlap";
        }
        "unexplained"
    }

    /// Whether the end of `run` may not have been recorded when its process was killed.
    fn could_not_record(&self, run: &Run<'_>, killed: u64) -> bool {
        let Some((ended, _)) = run.end else {
            return true;
        };
        let hindered = |event: &Event| {
            !matches!(event.hit, Hit::Killed(_) | Hit::Ended(_) | Hit::Clock(_))
                && event.within(ended.saturating_sub(RECORDED_US), killed)
        };
        killed.saturating_sub(ended) < RECORDED_US
            || self.of_process(run.process).any(hindered)
            || self.global.iter().any(|event| hindered(event))
    }
}

/// How long the jobs of killed processes waited for their next run.
fn recovery(verdict: &mut Verdict, jobs: &BTreeMap<u64, Job<'_>>, faults: &Faults<'_>) {
    let (mut calm, mut all) = (Vec::new(), Vec::new());
    let mut busy = std::collections::HashSet::new();
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
                !matches!(event.hit, Hit::Killed(_)) && event.within(before, pair[1].start)
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
