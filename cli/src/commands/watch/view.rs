//! What a watch shows: bars that are redrawn in place where somebody watches, else a line whenever
//! something changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use haul_producer::{StateKind, StoreError, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{
    Target,
    pace::{Pace, ended},
    target::Counts,
};
use crate::{
    commands::job::{age, count},
    output, screen,
    session::Session,
};

const BAR: u64 = 30;

/// Shows a watch.
#[derive(Debug)]
pub(super) struct View<'s> {
    session: &'s Session,
    name: String,
    is_batch: bool,
    began: Instant,
    pace: Pace,
    last: Option<Counts>,
    /// States that had jobs once: their lines stay.
    seen: BTreeSet<StateKind>,
    bars: Option<ProgressBar>,
    in_doubt: bool,
}

/// A look, as JSON.
#[derive(Debug, Serialize)]
struct LookView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    at: String,
    jobs: u64,
    ended: u64,
    states: BTreeMap<&'static str, u64>,
    per_second: Option<f64>,
    left_ms: Option<u128>,
}

impl<'s> View<'s> {
    pub(super) fn new(session: &'s Session, target: &Target) -> anyhow::Result<Self> {
        let watched = session.shows_progress() && io::stdout().is_terminal() && !session.json;
        let bars = watched.then(ProgressBar::new_spinner);
        if let Some(bars) = &bars {
            bars.set_style(ProgressStyle::with_template("{msg}")?);
            screen::show(bars.clone());
        }
        Ok(Self {
            session,
            name: target.name().to_owned(),
            is_batch: matches!(target, Target::Batch(_)),
            began: Instant::now(),
            pace: Pace::default(),
            last: None,
            seen: BTreeSet::new(),
            bars,
            in_doubt: false,
        })
    }

    /// Shows what was counted.
    pub(super) fn show(&mut self, counts: &Counts) -> anyhow::Result<()> {
        self.in_doubt = false;
        self.pace.add(self.began.elapsed(), ended(counts).0);
        self.seen.extend(counts.keys());
        if let Some(bars) = &self.bars {
            let coloured = screen::has_colour(&io::stderr());
            bars.set_message(self.drawn(counts, coloured).join("\n"));
            bars.tick();
        } else if self.last.as_ref() != Some(counts) {
            self.tell(counts)?;
        }
        self.last = Some(counts.clone());
        Ok(())
    }

    /// The store does not answer.
    pub(super) fn doubt(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.in_doubt, true) {
            screen::talk(&format!("haul: {error}; looking again"));
        }
    }

    /// All have ended.
    pub(super) fn finish(&self, counts: &Counts) -> anyhow::Result<()> {
        self.close();
        match self.bars {
            Some(_) => self.tell(counts),
            None => Ok(()),
        }
    }

    /// Takes the bars away.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.finish_and_clear();
        }
    }

    fn tell(&self, counts: &Counts) -> anyhow::Result<()> {
        if !self.session.json {
            return output::line(self.plain(counts));
        }
        let ((ended, jobs), name) = (ended(counts), self.name.as_str());
        let states = StateKind::ALL.iter();
        output::json(&LookView {
            batch: self.is_batch.then_some(name),
            filter: (!self.is_batch).then_some(name),
            at: Timestamp::now().to_string(),
            jobs,
            ended,
            states: states
                .map(|state| (state.as_str(), counts.get(state).copied().unwrap_or(0)))
                .collect(),
            per_second: self.pace.per_second(),
            left_ms: self.left(jobs - ended).map(|left| left.as_millis()),
        })
    }

    fn left(&self, open: u64) -> Option<Duration> {
        self.pace.left(open).filter(|_| open > 0)
    }

    /// `import-7: 12 jobs, 4 queued, 8 succeeded; 66% ended, 2.0/s, 2.0s left`
    fn plain(&self, counts: &Counts) -> String {
        let (ended, jobs) = ended(counts);
        let states = counts
            .iter()
            .map(|(state, count)| format!("{count} {state}"));
        let states = states.collect::<Vec<_>>().join(", ");
        let jobs_words = self::count(usize::try_from(jobs).unwrap_or(usize::MAX), "job");
        let mut text = format!(
            "{}: {jobs_words}, {states}; {}% ended",
            self.name,
            percent(ended, jobs)
        );
        self.add_pace(&mut text, ", ", jobs - ended);
        text
    }

    fn add_pace(&self, text: &mut String, between: &str, open: u64) {
        if let Some(rate) = self.pace.per_second() {
            text.push_str(&format!("{between}{rate:.1}/s"));
        }
        if let Some(left) = self.left(open) {
            text.push_str(&format!("{between}{} left", age(left)));
        }
    }

    /// A line for the whole, one for each state.
    fn drawn(&self, counts: &Counts, coloured: bool) -> Vec<String> {
        let (ended, jobs) = ended(counts);
        let jobs_words = self::count(usize::try_from(jobs).unwrap_or(usize::MAX), "job");
        let mut head = format!("{}  {jobs_words}  {}%", self.name, percent(ended, jobs));
        self.add_pace(&mut head, "  ", jobs - ended);
        let mut lines = vec![head];
        for state in &self.seen {
            let number = counts.get(state).copied().unwrap_or(0);
            let bar = output::in_colour(&bar(number, jobs), *state, coloured);
            lines.push(format!("  {state:<9}  [{bar}]  {number:>8}"));
        }
        lines
    }
}

fn percent(part: u64, of: u64) -> u64 {
    (part * 100).checked_div(of).unwrap_or(100)
}

/// At least one stroke for what is there at all.
fn bar(number: u64, of: u64) -> String {
    let strokes = (number * BAR).checked_div(of).unwrap_or(0);
    let strokes = usize::try_from(strokes.max(u64::from(number > 0))).unwrap_or(0);
    let width = usize::try_from(BAR).unwrap_or(0);
    format!("{:<width$}", "=".repeat(strokes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_empty_for_a_job() {
        assert_eq!(bar(0, 10).trim_end(), "");
        assert_eq!(bar(1, 1_000_000).trim_end(), "=");
        assert_eq!(bar(5, 10).trim_end().len(), 15);
        assert_eq!(bar(10, 10).len(), 30);
        assert_eq!(bar(0, 0).len(), 30);
    }

    #[test]
    fn a_batch_without_jobs_is_done() {
        assert_eq!(
            (percent(0, 0), percent(1, 3), percent(3, 3)),
            (100, 33, 100)
        );
    }
}
