//! `haul batch`: jobs that belong together.

mod act;
mod list;
mod report;
mod show;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use haul_producer::{BatchCounts, BatchId, Producer, StateKind};
use serde::Serialize;

use super::watch::{self, Target, WatchOptions};
use crate::{
    exit::{Code, Exit},
    session::Session,
};

/// What to do with batches.
#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// List batches, newest first: their jobs by state
    List(list::ListArgs),
    /// Show a batch: its jobs by state
    Show(show::ShowArgs),
    /// Watch a batch until all of its jobs have ended
    Watch(WatchArgs),
    /// Report on a batch: time spent in each state, the slowest jobs, failures grouped by error
    Report(report::ReportArgs),
    /// Cancel the jobs of a batch that have not ended
    Cancel(act::CancelArgs),
    /// Send the dead jobs of a batch round again
    Retry(act::RetryArgs),
}

/// Which batch.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, bars are redrawn in place; into a pipe, a line is printed whenever something changed.
Ctrl-C ends the watching and leaves the jobs alone. Ends with 0 if all succeeded, 3 if any ended
dead or cancelled, 5 if no job of the batch is known.

Examples:
  haul batch watch import-7
  haul batch watch import-7 --json | jq .ended")]
pub(crate) struct WatchArgs {
    /// The batch
    batch: BatchId,
    #[command(flatten)]
    options: WatchOptions,
}

/// A batch, as JSON.
#[derive(Debug, Serialize)]
struct BatchView<'a> {
    batch: &'a BatchId,
    created_at: String,
    jobs: u64,
    ended: u64,
    states: BTreeMap<&'static str, u64>,
}

impl<'a> From<&'a BatchCounts> for BatchView<'a> {
    fn from(counts: &'a BatchCounts) -> Self {
        Self {
            batch: &counts.batch,
            created_at: counts.created.to_string(),
            jobs: counts.jobs(),
            ended: ended(counts),
            states: StateKind::ALL
                .iter()
                .map(|state| (state.as_str(), counts.count(*state)))
                .collect(),
        }
    }
}

/// Carries out the command.
///
/// # Errors
/// Every error ends the process with a code of its own.
pub(crate) async fn run(session: &Session, command: BatchCommand) -> anyhow::Result<()> {
    match command {
        BatchCommand::List(args) => list::run(session, args).await,
        BatchCommand::Show(args) => show::run(session, args).await,
        BatchCommand::Watch(args) => {
            let producer = session.connect().await?;
            let target = Target::Batch(args.batch);
            watch::watch(session, &producer, target, &args.options).await
        }
        BatchCommand::Report(args) => report::run(session, args).await,
        BatchCommand::Cancel(args) => act::cancel(session, args).await,
        BatchCommand::Retry(args) => act::retry(session, args).await,
    }
}

/// The counts of a batch.
///
/// # Errors
/// When no job of it is known.
async fn find(producer: &Producer, batch: &BatchId) -> anyhow::Result<BatchCounts> {
    producer.batch(batch).await?.ok_or_else(|| {
        let text = format!(
            "no job of a batch {batch} is known: never submitted here, or forgotten since; see \
             haul batch list"
        );
        Exit::with(Code::NotFound, text)
    })
}

fn ended(counts: &BatchCounts) -> u64 {
    let states = counts.states.iter();
    states
        .filter(|(state, _)| state.is_terminal())
        .map(|(_, count)| count)
        .sum()
}
