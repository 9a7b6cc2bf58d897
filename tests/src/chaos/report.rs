//! What a run found, for people and for programs.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use serde::Serialize;

use super::{
    checker::{Verdict, Waits, check},
    evidence::{Evidence, Hit, Run},
};

/// Repeated effects, in percent of what completed.
const REPEATED_MAX: f64 = 0.2;
/// Repeated effects for each time that the store forgot what it had confirmed: they depend on how
/// much it forgot, not on how many jobs a run has.
const FORGOTTEN_MAX: u64 = 100;
/// Until a killed worker's job starts again, 99 % of them.
const RESTART_MS_MAX: u64 = 12_000;
/// The same where its delivery comes back with the connection.
const RESTART_HELD_MS_MAX: u64 = 2000;

/// What a run found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The run.
    pub run: Run,
    /// The counts.
    pub verdict: Verdict,
    /// What is not as it must be; empty when all is well.
    pub missed: Vec<String>,
}

impl Report {
    /// Judges a run, and keeps the judgement beside its evidence.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn of(evidence: &Evidence, dir: &Path) -> Result<Self> {
        let verdict = check(evidence);
        let report = Self {
            run: evidence.run.clone(),
            missed: missed(&verdict, &evidence.run, forgot(evidence)),
            verdict,
        };
        fs::write(
            dir.join("verdict.json"),
            serde_json::to_vec_pretty(&report)?,
        )?;
        Ok(report)
    }

    /// Whether a promise was broken, as opposed to a target for speed.
    pub fn is_unsafe(&self) -> bool {
        self.verdict.safety.values().any(|count| *count > 0)
    }

    /// A table.
    pub fn table(&self) -> String {
        let (run, v) = (&self.run, &self.verdict);
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<24}{value}");
        };
        row("form, seed", format!("{}, {}", run.form, run.seed));
        row(
            "attempted",
            format!(
                "{} (accepted {}, unknown {} of which {} ran, refused {})",
                v.attempted, v.accepted, v.unknown, v.recovered, v.refused
            ),
        );
        row(
            "completed",
            format!(
                "{}, {} a second; cancelled {}, given up by the crash limit {}",
                v.completed, v.rate, v.cancelled, v.given_up
            ),
        );
        for (name, count) in &v.safety {
            let examples = v
                .examples
                .get(name)
                .map_or(String::new(), |jobs| format!(" {jobs:?}"));
            row(name, format!("{count}{examples}"));
        }
        row(
            "repeated effects",
            format!(
                "{:.3} % {:?}; steps {}",
                v.repeated_percent, v.duplicates, v.steps_repeated
            ),
        );
        row("kills, with work", format!("{}, {}", v.kills.0, v.kills.1));
        row("kill to next start", times(v.restart));
        row("… of a held delivery", times(v.restart_held));
        row("… with servers away", times(v.restart_all));
        row(
            "drained",
            v.drain_ms.map_or("no".to_owned(), |ms| format!("{ms} ms")),
        );
        out
    }
}

fn times(waits: Option<Waits>) -> String {
    waits.map_or("nothing to measure".to_owned(), |waits| {
        let Waits {
            jobs,
            median_ms,
            most_ms,
            longest_ms,
        } = waits;
        format!("{jobs} jobs: p50 {median_ms} ms, p99 {most_ms} ms, max {longest_ms} ms")
    })
}

/// How often the store forgot.
fn forgot(evidence: &Evidence) -> u64 {
    let rollbacks = evidence.events.iter();
    rollbacks
        .filter(|event| matches!(event.hit, Hit::Rollback))
        .count() as u64
}

fn missed(verdict: &Verdict, run: &Run, forgot: u64) -> Vec<String> {
    let broken = verdict.safety.iter().filter(|(_, count)| **count > 0);
    let mut missed: Vec<_> = broken
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    let repeated: u64 = verdict.duplicates.values().sum();
    let after_rollback = verdict.duplicates.get("rollback").copied().unwrap_or(0);
    let excused = after_rollback.min(forgot * FORGOTTEN_MAX);
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = 100.0 * (repeated - excused) as f64 / verdict.completed.max(1) as f64;
    if percent > REPEATED_MAX {
        missed.push(format!("repeated effects: {percent:.3} %"));
    }
    missed.extend(late(verdict, run));
    if verdict.drain_ms.is_none() {
        missed.push("not drained in time".to_owned());
    }
    missed
}

/// What is wrong with the time until killed workers' jobs start again; a run that was to measure it
/// and did not is wrong, too.
fn late(verdict: &Verdict, run: &Run) -> Vec<String> {
    let figures = [
        ("kill to next start", verdict.restart, RESTART_MS_MAX),
        (
            "kill to next start of a held delivery",
            verdict.restart_held,
            RESTART_HELD_MS_MAX,
        ),
    ];
    let judge = |(name, waits, limit): (_, Option<Waits>, _)| match waits {
        None if run.first_kills > 0 => Some(format!("{name}: nothing was measured")),
        Some(Waits { most_ms, .. }) if most_ms > limit => {
            Some(format!("{name}, p99: {most_ms} ms"))
        }
        _ => None,
    };
    figures.into_iter().filter_map(judge).collect()
}
