//! What came of a run, counted and told.

use std::time::{Duration, Instant};

use haul_common::job::StateKind;
use haul_producer::BatchId;

use super::ended::Ended;
use crate::{commands::job::age, output::first_line, session::Session};

/// Failed items that are named; the rest is counted.
const NAMED: usize = 10;

/// What came of a run so far.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    /// Items that were read.
    pub(super) taken: usize,
    /// Submitted, and called back or stopped by this run.
    pub(super) left: usize,
    /// Succeeded in an earlier run.
    pub(super) done_before: usize,
    pub(super) succeeded: usize,
    retried: usize,
    dead: usize,
    cancelled: usize,
    refused: usize,
    failed: Vec<(String, String)>,
}

impl Tally {
    /// Nothing came of it yet.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            taken: 0,
            left: 0,
            done_before: 0,
            succeeded: 0,
            retried: 0,
            dead: 0,
            cancelled: 0,
            refused: 0,
            failed: Vec::new(),
        }
    }

    /// A job has ended.
    pub(super) fn add(&mut self, ended: &Ended, item: &str) {
        let life = &ended.life;
        self.retried += usize::from(life.attempt > 1);
        match life.state.kind() {
            StateKind::Succeeded => self.succeeded += 1,
            StateKind::Cancelled => {
                self.cancelled += 1;
                self.name(item, "cancelled".to_owned());
            }
            state => {
                self.dead += 1;
                let error = first_line(life.error.as_deref().unwrap_or_default(), 200);
                let reason = life.state.reason();
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                self.name(item, format!("{state}{reason}: {error}"));
            }
        }
    }

    /// An item never became a job.
    pub(super) fn refuse(&mut self, item: &str, error: &str) {
        self.refused += 1;
        self.name(item, error.to_owned());
    }

    fn name(&mut self, item: &str, error: String) {
        if self.failed.len() < NAMED {
            self.failed.push((first_line(item, 60), error));
        }
    }

    /// Items that ended without success.
    pub(super) const fn unsuccessful(&self) -> usize {
        self.dead + self.cancelled + self.refused
    }

    /// Items that ended in this run.
    pub(super) const fn ended(&self) -> usize {
        self.succeeded + self.unsuccessful()
    }

    /// Tells a person.
    pub(super) fn tell(&self, session: &Session, batch: &BatchId) {
        let mut words = vec![format!("{} succeeded", self.succeeded)];
        let more = [
            (self.done_before, "done before"),
            (self.retried, "retried"),
            (self.dead, "dead"),
            (self.cancelled, "cancelled"),
            (self.refused, "not submitted"),
        ];
        words.extend(
            more.iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, what)| format!("{n} {what}")),
        );
        let wall = Duration::from_millis(self.began.elapsed().as_millis().try_into().unwrap_or(0));
        session.say(format!("haul: {} in {}", words.join(", "), age(wall)));
        for (item, error) in &self.failed {
            session.say(format!("  failed  {item}: {error}"));
        }
        let unnamed = self.unsuccessful() - self.failed.len();
        if unnamed > 0 {
            session.say(format!("  failed  and {unnamed} more"));
        }
        if self.unsuccessful() > 0 {
            session.say(format!(
                "  next    haul job list batch:{batch} state:dead,cancelled"
            ));
            session.say("          or the same command with --resume, to try these again");
        }
    }
}
