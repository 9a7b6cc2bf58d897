//! What a batch comes to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use haul_producer::{BatchCounts, BatchId, JobId, Record, StateKind, TaskName, Timestamp};
use serde::Serialize;

use super::{
    failures::{Failures, Group},
    since,
    spread::{Spread, SpreadView},
    times::Times,
};
use crate::{
    commands::job::{age, count},
    output::{self, Cell, Table, first_line},
};

/// Jobs that are named as the slowest.
const SLOWEST: usize = 5;
/// Errors that are shown; --json has all.
const ERRORS_SHOWN: usize = 10;

/// Sums over the jobs that were read.
#[derive(Debug, Default)]
pub(super) struct Summary {
    states: BTreeMap<StateKind, u64>,
    waiting: Spread,
    running: Spread,
    retrying: Spread,
    slowest: BinaryHeap<Reverse<Slow>>,
    failures: Failures,
}

/// A job that ran long; the longest are the greatest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Slow {
    running_ms: u64,
    id: JobId,
    task: TaskName,
    state: StateKind,
}

/// The report, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct ReportView<'a> {
    batch: &'a BatchId,
    created_at: String,
    jobs: u64,
    states: BTreeMap<&'static str, u64>,
    waiting: SpreadView,
    running: SpreadView,
    retrying: SpreadView,
    slowest: Vec<Slow>,
    failures: Vec<Group>,
}

impl Summary {
    /// Adds a job.
    pub(super) fn add(&mut self, record: &Record, times: Times) {
        let state = record.life.state.kind();
        *self.states.entry(state).or_default() += 1;
        self.waiting.add(times.waiting);
        if let Some(running) = times.running {
            self.running.add(running);
            self.slowest.push(Reverse(Slow {
                running_ms: u64::try_from(running.as_millis()).unwrap_or(u64::MAX),
                id: record.spec.id.clone(),
                task: record.spec.task.clone(),
                state,
            }));
            if self.slowest.len() > SLOWEST {
                self.slowest.pop();
            }
        }
        if let Some(retrying) = times.retrying {
            self.retrying.add(retrying);
        }
        self.failures.add(record);
    }

    fn slowest(&self) -> Vec<Slow> {
        let mut slowest: Vec<Slow> = self.slowest.iter().map(|slow| slow.0.clone()).collect();
        slowest.sort_by(|a, b| b.cmp(a));
        slowest
    }

    /// For scripts.
    pub(super) fn view<'a>(&self, batch: &'a BatchCounts) -> ReportView<'a> {
        let of = |state: &StateKind| self.states.get(state).copied().unwrap_or(0);
        ReportView {
            batch: &batch.batch,
            created_at: batch.created.to_string(),
            jobs: self.states.values().sum(),
            states: StateKind::ALL
                .iter()
                .map(|state| (state.as_str(), of(state)))
                .collect(),
            waiting: self.waiting.view(),
            running: self.running.view(),
            retrying: self.retrying.view(),
            slowest: self.slowest(),
            failures: self.failures.sorted(),
        }
    }

    /// For people.
    pub(super) fn print(&self, batch: &BatchCounts, now: Timestamp) -> anyhow::Result<()> {
        let states = self.states.iter();
        let states = states.map(|(state, number)| format!("{number} {state}"));
        let jobs = usize::try_from(self.states.values().sum::<u64>()).unwrap_or(usize::MAX);
        output::line(format!(
            "{}: {}, begun {} ago",
            batch.batch,
            count(jobs, "job"),
            since(batch.created, now)
        ))?;
        output::line(format!("  {}", states.collect::<Vec<_>>().join(", ")))?;
        output::line("")?;
        self.times().print()?;
        self.print_slowest()?;
        self.print_failures(&batch.batch)
    }

    fn times(&self) -> Table {
        let names = ["p50", "p95", "p99", "max", "total"].map(Cell::right);
        let mut headings = vec![Cell::from("TIME SPENT"), Cell::right("JOBS")];
        headings.extend(names);
        let mut table = Table::new(headings);
        let rows = [
            ("waiting", &self.waiting),
            ("running", &self.running),
            ("retrying", &self.retrying),
        ];
        for (name, spread) in rows {
            let view = spread.view();
            let mut row = vec![Cell::from(name), Cell::number(view.jobs)];
            let times = [
                view.p50_ms,
                view.p95_ms,
                view.p99_ms,
                view.max_ms,
                view.total_ms,
            ];
            row.extend(times.map(|ms| match view.jobs {
                0 => Cell::right("-"),
                _ => Cell::right(&age(Duration::from_millis(ms))),
            }));
            table.row(row);
        }
        table
    }

    fn print_slowest(&self) -> anyhow::Result<()> {
        let slowest = self.slowest();
        if slowest.is_empty() {
            return Ok(());
        }
        output::line("")?;
        let headings = ["SLOWEST", "TASK", "STATE"].map(Cell::from);
        let mut table = Table::new(headings.into_iter().chain([Cell::right("RAN")]).collect());
        for slow in slowest {
            table.row(vec![
                Cell::from(&*slow.id),
                Cell::from(first_line(&slow.task, 40)),
                Cell::state(slow.state.to_string(), slow.state),
                Cell::right(&age(Duration::from_millis(slow.running_ms))),
            ]);
        }
        table.print()
    }

    fn print_failures(&self, batch: &BatchId) -> anyhow::Result<()> {
        let groups = self.failures.sorted();
        if groups.is_empty() {
            return Ok(());
        }
        output::line("")?;
        let mut table = Table::new(vec![
            Cell::right("DEAD"),
            Cell::right("TO RETRY"),
            Cell::from("SUCH AS"),
            Cell::from("ERROR"),
        ]);
        for group in groups.iter().take(ERRORS_SHOWN) {
            table.row(vec![
                Cell::number(group.dead),
                Cell::number(group.open),
                Cell::from(&*group.example),
                Cell::from(first_line(&group.error, 100)),
            ]);
        }
        table.print()?;
        let hidden = groups.len().saturating_sub(ERRORS_SHOWN);
        if hidden > 0 {
            output::line(format!(
                "and {} (haul batch report {batch} --json)",
                count(hidden, "more error")
            ))?;
        }
        Ok(())
    }
}
