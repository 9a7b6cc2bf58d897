//! The progress display of a run.

use std::{
    io,
    time::{Duration, Instant},
};

use haul_common::job::{Progress, StateKind};
use haul_producer::{Producer, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use super::{open::OpenJobs, summary::Tally};
use crate::{
    commands::job::age,
    output::first_line,
    screen::{self, has_colour},
};

const UNKNOWN: &str = "{spinner} {pos} done  {msg}";
/// Running items that are shown; the others are counted.
const LINES: usize = 16;

/// The progress display, where one is wanted.
#[derive(Debug)]
pub(super) struct Display {
    bar: Option<ProgressBar>,
    is_verbose: bool,
    began: Instant,
}

impl Display {
    /// A display, or nothing where none is wanted.
    pub(super) fn new(
        wanted: bool,
        total: Option<usize>,
        is_verbose: bool,
    ) -> anyhow::Result<Self> {
        let bar = wanted.then(ProgressBar::new_spinner);
        if let Some(bar) = &bar {
            bar.set_style(ProgressStyle::with_template(UNKNOWN)?);
            bar.enable_steady_tick(Duration::from_millis(200));
            screen::show(bar.clone());
        }
        let display = Self {
            bar,
            is_verbose,
            began: Instant::now(),
        };
        if let Some(total) = total {
            display.expect(total)?;
        }
        Ok(display)
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

    /// Draws.
    pub(super) async fn draw(
        &self,
        tally: &Tally,
        total: Option<usize>,
        open: &OpenJobs,
        producer: &Producer,
    ) {
        let Some(bar) = &self.bar else { return };
        bar.set_position((tally.ended() + tally.done_before) as u64);
        let mut text = self.counts(tally, total, open).join(" · ");
        if self.is_verbose {
            for line in lines(open, producer).await {
                text.push('\n');
                text.push_str(&line);
            }
        }
        bar.set_message(text);
    }

    fn counts(&self, tally: &Tally, total: Option<usize>, open: &OpenJobs) -> Vec<String> {
        let running = open.count(StateKind::Running);
        let retrying = open.count(StateKind::Retrying);
        let states = [
            (tally.succeeded, "ok"),
            (running, "running"),
            (open.len() - running - retrying, "queued"),
            (retrying, "retrying"),
            (tally.unsuccessful(), "failed"),
        ];
        let shown = states
            .iter()
            .filter(|(n, word)| *n > 0 || *word == "running");
        let mut words: Vec<String> = shown.map(|(n, word)| format!("{n} {word}")).collect();
        let (done, elapsed) = (tally.ended(), self.began.elapsed());
        if done > 0 {
            let left = total.map(|total| total.saturating_sub(done + tally.done_before));
            words.push(format!("{:.1}/s", done as f64 / elapsed.as_secs_f64()));
            if let Some(left) = left.filter(|left| *left > 0) {
                let time = elapsed.mul_f64(left as f64 / done as f64);
                let time = Duration::from_secs(time.as_secs().max(1));
                words.push(format!("{} left", age(time)));
            }
        }
        words
    }

    /// Clears the line.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line for each running item.
async fn lines(open: &OpenJobs, producer: &Producer) -> Vec<String> {
    let (running, now) = (open.running(), Timestamp::now());
    let mut lines = Vec::new();
    for (id, job) in running.iter().take(LINES) {
        let began = job.began.unwrap_or(now);
        let seconds = Duration::from_secs(now.since(began).as_secs());
        let known = producer.find(id).await.ok().flatten();
        let progress = known.and_then(|record| record.progress);
        let progress = progress.map_or_else(String::new, |it| words(&it));
        let item = first_line(&job.item, 40);
        lines.push(format!("  {:>6}  {item}{progress}", age(seconds)));
    }
    if running.len() > LINES {
        lines.push(format!("          and {} more", running.len() - LINES));
    }
    lines
}

fn words(progress: &Progress) -> String {
    let Progress {
        done,
        total,
        message,
    } = progress;
    format!("  {done}/{total} {}", first_line(message, 30))
}
