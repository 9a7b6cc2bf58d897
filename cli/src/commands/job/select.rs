//! Which jobs a command acts on: ids, or all that a filter means.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;
use haul_producer::{
    BatchId, Filter, JobId, Listing, PageRequest, Producer, QueueName, Record, StateKind,
};
use serde::Serialize;

use super::{count, rate::Rate, show::state_words};
use crate::{
    exit::Exit,
    output::{self, first_line},
    screen::talk,
    session::Session,
};

const PAGE: usize = 500;
const SAMPLES: usize = 5;

/// Ids or a filter.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Targets {
    /// Ids of jobs; or words of a filter, which mean all jobs for which all of them hold, such as
    /// 'state:dead queue:mail' (see: haul job list --help)
    #[arg(value_name = "ID|FILTER", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    bulk: Bulk,
}

/// How it is done to many.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Bulk {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only say how many jobs it would be, and show five of them
    #[arg(long)]
    dry_run: bool,
    /// No more than this many in a time, such as 100/s, 30/m or 5000/h
    #[arg(long, value_name = "N/UNIT")]
    rate: Option<Rate>,
}

/// Ids or a filter, read.
#[derive(Debug)]
pub(crate) struct Choice {
    which: Which,
    bulk: Bulk,
}

#[derive(Debug)]
enum Which {
    Ids(Vec<JobId>),
    Filter(Box<Filter>, String),
}

/// The jobs to act on.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) ids: Vec<JobId>,
    /// A filter chose them: they may be very many.
    pub(super) by_filter: bool,
    pub(super) rate: Option<Rate>,
}

/// What a dry run found, as JSON.
#[derive(Debug, Serialize)]
struct DryView<'a> {
    would: &'a str,
    jobs: usize,
    samples: &'a [JobId],
}

/// Reads a filter from words.
///
/// # Errors
/// When a word is not in the grammar.
pub(super) fn filter(words: &[String]) -> anyhow::Result<Filter> {
    Ok(words.join(" ").parse::<Filter>()?)
}

impl Targets {
    /// Tells ids from words of a filter, which have a colon.
    ///
    /// # Errors
    /// When they are neither, or both.
    pub(super) fn read(self) -> anyhow::Result<Choice> {
        let (words, ids): (Vec<_>, Vec<_>) =
            self.targets.iter().partition(|target| target.contains(':'));
        let which = match (ids.first(), words.first()) {
            (Some(id), Some(word)) => {
                return Err(Exit::usage(format!(
                    "`{id}` is an id and `{word}` a word of a filter: give ids, or a filter"
                )));
            }
            (_, None) => Which::Ids(
                ids.into_iter()
                    .map(|id| id.parse())
                    .collect::<Result<_, _>>()?,
            ),
            (None, Some(_)) => {
                let text = self.targets.join(" ");
                Which::Filter(Box::new(text.parse()?), text)
            }
        };
        Ok(Choice {
            which,
            bulk: self.bulk,
        })
    }
}

impl Bulk {
    /// The jobs of a batch.
    pub(crate) fn of_batch(self, batch: &BatchId) -> Choice {
        let filter = Filter {
            batch: Some(batch.clone()),
            ..Filter::default()
        };
        Choice {
            which: Which::Filter(Box::new(filter), format!("batch:{batch}")),
            bulk: self,
        }
    }

    /// The jobs that are queued in a queue.
    pub(crate) fn of_queued(self, queue: &QueueName) -> Choice {
        let filter = Filter {
            states: vec![StateKind::Queued],
            queue: Some(queue.clone()),
            ..Filter::default()
        };
        let words = format!("state:queued queue:{queue}");
        Choice {
            which: Which::Filter(Box::new(filter), words),
            bulk: self,
        }
    }
}

impl Choice {
    /// The jobs to act on; nothing when there is nothing to do. A filter that says no state means
    /// jobs in `states` only, and wants a yes.
    ///
    /// # Errors
    /// When nobody said yes, or the store cannot be asked.
    pub(super) async fn settle(
        self,
        session: &Session,
        producer: &Producer,
        verb: &str,
        states: &[StateKind],
    ) -> anyhow::Result<Chosen> {
        let Self { which, bulk } = self;
        let chosen = |ids, by_filter| Chosen {
            ids,
            by_filter,
            rate: bulk.rate,
        };
        let (mut filter, words) = match which {
            Which::Filter(filter, words) => (filter, words),
            Which::Ids(ids) if bulk.dry_run => {
                tell_dry(session, verb, &ids, &[])?;
                return Ok(chosen(Vec::new(), false));
            }
            Which::Ids(ids) => return Ok(chosen(ids, false)),
        };
        if filter.states.is_empty() {
            filter.states = states.to_vec();
        }
        let (ids, samples) = collect(producer, &filter).await?;
        if bulk.dry_run {
            tell_dry(session, verb, &ids, &samples)?;
            return Ok(chosen(Vec::new(), false));
        }
        if ids.is_empty() {
            session.say(format!("no jobs to {verb} match `{words}`"));
            return Ok(chosen(ids, false));
        }
        if !bulk.yes {
            let what = format!("{verb} {}", count(ids.len(), "job"));
            show(&what, &ids, &samples);
            confirm(&what)?;
        }
        Ok(chosen(ids, true))
    }
}

fn tell_dry(
    session: &Session,
    verb: &str,
    ids: &[JobId],
    samples: &[String],
) -> anyhow::Result<()> {
    if session.json {
        return output::json(&DryView {
            would: verb,
            jobs: ids.len(),
            samples: &ids[..ids.len().min(SAMPLES)],
        });
    }
    show(&format!("{verb} {}", count(ids.len(), "job")), ids, samples);
    Ok(())
}

/// How many, and some of them.
fn show(what: &str, ids: &[JobId], samples: &[String]) {
    let end = if samples.is_empty() { "" } else { ":" };
    talk(&format!("would {what}{end}"));
    for sample in samples {
        talk(&format!("  {sample}"));
    }
    if !samples.is_empty() && ids.len() > samples.len() {
        talk(&format!("  and {} more", ids.len() - samples.len()));
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
