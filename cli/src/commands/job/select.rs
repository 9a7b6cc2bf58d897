//! Which jobs a command acts on: ids, or all that a filter means.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use haul_producer::{Filter, JobId, Listing, PageRequest, Producer, Record, StateKind};

use super::{count, show::state_words};
use crate::{exit::Exit, output::first_line, screen::talk, session::Session};

const PAGE: usize = 500;
const SAMPLES: usize = 5;

/// Ids or a filter.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Choice {
    /// Ids of jobs
    #[arg(value_name = "ID", required_unless_present = "filter")]
    ids: Vec<JobId>,
    /// All jobs that these words mean, such as 'state:dead queue:mail'
    #[arg(long, value_name = "WORDS", conflicts_with = "ids")]
    filter: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only say which jobs it would be
    #[arg(long)]
    dry_run: bool,
}

/// Reads a filter from words.
///
/// # Errors
/// When a word is not in the grammar.
pub(super) fn filter(words: &[String]) -> anyhow::Result<Filter> {
    Ok(words.join(" ").parse::<Filter>()?)
}

impl Choice {
    /// The jobs to act on; nothing when there is nothing to do. A filter that says no state means
    /// jobs in `states` only, and wants a yes.
    ///
    /// # Errors
    /// When the filter is wrong, or nobody said yes.
    pub(super) async fn settle(
        self,
        session: &Session,
        producer: &Producer,
        verb: &str,
        states: &[StateKind],
    ) -> anyhow::Result<Vec<JobId>> {
        let Some(words) = self.filter else {
            if self.dry_run {
                session.say(format!("would {verb} {}", count(self.ids.len(), "job")));
                return Ok(Vec::new());
            }
            return Ok(self.ids);
        };
        let mut filter: Filter = words.parse()?;
        if filter.states.is_empty() {
            filter.states = states.to_vec();
        }
        let (ids, samples) = collect(producer, &filter).await?;
        if ids.is_empty() {
            session.say(format!("no jobs to {verb} match `{words}`"));
            return Ok(ids);
        }
        let what = format!("{verb} {}", count(ids.len(), "job"));
        if self.yes && !self.dry_run {
            session.say(format!("{what}:"));
            return Ok(ids);
        }
        talk(&format!("would {what}:"));
        for sample in &samples {
            talk(&format!("  {sample}"));
        }
        if ids.len() > samples.len() {
            talk(&format!("  and {} more", ids.len() - samples.len()));
        }
        if self.dry_run {
            return Ok(Vec::new());
        }
        confirm(&what)?;
        Ok(ids)
    }
}

/// Ids before the first is acted on: what is acted on may no longer match.
async fn collect(
    producer: &Producer,
    filter: &Filter,
) -> anyhow::Result<(Vec<JobId>, Vec<String>)> {
    let (mut ids, mut samples, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = PageRequest { limit: PAGE, after };
        let Listing { records, next } = producer.list(filter, page).await?;
        let wanted = SAMPLES - samples.len();
        samples.extend(records.iter().take(wanted).map(sample));
        ids.extend(records.into_iter().map(|record| record.spec.id));
        after = next;
        if after.is_none() {
            return Ok((ids, samples));
        }
    }
}

fn sample(record: &Record) -> String {
    let error = first_line(record.life.error.as_deref().unwrap_or_default(), 60);
    let text = format!(
        "{}  {}  {}  {}  {error}",
        record.spec.id,
        record.spec.task,
        record.spec.queue,
        state_words(record)
    );
    text.trim_end().to_owned()
}

fn confirm(what: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Exit::usage(format!("will not {what} unasked: add --yes")));
    }
    talk(&format!("{what}? [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(anyhow::anyhow!("nothing was done"))
    }
}
