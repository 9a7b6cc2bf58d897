//! The progress display of a run.

use std::{
    io,
    time::{Duration, Instant},
};

use haul_common::job::StateKind;
use haul_producer::QueueCounts;
use indicatif::{ProgressBar, ProgressStyle};

use super::summary::Tally;
use crate::{
    commands::job::age,
    screen::{self, has_colour},
};

const UNKNOWN: &str = "{spinner} {pos} done  {msg}";

/// The progress display, where one is wanted.
#[derive(Debug)]
pub(super) struct Display {
    bar: Option<ProgressBar>,
    began: Instant,
    waiting: [u64; 2],
}

impl Display {
    /// A display, or nothing where none is wanted.
    pub(super) fn new(wanted: bool, total: Option<usize>) -> anyhow::Result<Self> {
        let bar = if wanted {
            Some(ProgressBar::new_spinner())
        } else {
            None
        };
        if let Some(bar) = &bar {
            bar.set_style(ProgressStyle::with_template(UNKNOWN)?);
            bar.enable_steady_tick(Duration::from_millis(200));
            screen::show(bar.clone());
        }
        let display = Self {
            bar,
            began: Instant::now(),
            waiting: [0; 2],
        };
        if let Some(total) = total {
            display.expect(total)?;
        }
        Ok(display)
    }

    /// Whether anybody sees it.
    pub(super) const fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// It is known now how many there are.
    pub(super) fn expect(&self, total: usize) -> anyhow::Result<()> {
        if let Some(bar) = &self.bar {
            let bar_colour = if has_colour(&io::stderr()) {
                ".green"
            } else {
                ""
            };
            let known =
                format!("[{{bar:28{bar_colour}}}] {{percent:>3}}%  {{pos}}/{{len}}  {{msg}}");
            bar.set_style(ProgressStyle::with_template(&known)?.progress_chars("=> "));
            bar.set_length(total as u64);
        }
        Ok(())
    }

    /// What the store counted in the run's queue.
    pub(super) fn count(&mut self, counts: Option<&QueueCounts>) {
        let of = |state| {
            counts
                .and_then(|it| it.states.get(&state))
                .copied()
                .unwrap_or(0)
        };
        self.waiting = [of(StateKind::Running), of(StateKind::Retrying)];
    }

    /// Draws.
    pub(super) fn draw(&self, tally: &Tally, total: Option<usize>) {
        let Some(bar) = &self.bar else { return };
        let done = tally.ended();
        bar.set_position((done + tally.done_before) as u64);
        let [running, retrying] = self.waiting;
        let mut words = vec![format!("{running} running")];
        if retrying > 0 {
            words.push(format!("{retrying} retrying"));
        }
        if tally.unsuccessful() > 0 {
            words.push(format!("{} failed", tally.unsuccessful()));
        }
        let elapsed = self.began.elapsed();
        if done > 0 {
            let left = total.map(|total| total.saturating_sub(done + tally.done_before));
            words.push(format!("{:.1}/s", done as f64 / elapsed.as_secs_f64()));
            if let Some(left) = left.filter(|left| *left > 0) {
                let time = elapsed.mul_f64(left as f64 / done as f64);
                words.push(format!(
                    "{} left",
                    age(Duration::from_secs(time.as_secs().max(1)))
                ));
            }
        }
        bar.set_message(words.join(" · "));
    }

    /// Clears the line.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
