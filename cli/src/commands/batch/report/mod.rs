//! `haul batch report`: reads every job of a batch once, keeps sums and samples, never the jobs.
//!
//! [`times`] measures how long a job was in which state, [`spread`] keeps the distribution,
//! [`failures`] groups errors, [`csv`] writes rows, [`summary`] is what is shown at the end.

mod csv;
mod failures;
mod spread;
mod summary;
mod times;

use clap::Args;
use futures_util::{StreamExt, stream};
use haul_producer::{
    BatchId, Filter, Listing, PageRequest, Producer, Record, StateKind, StoreError, Timestamp,
};

use self::{summary::Summary, times::Times};
use super::find;
use crate::{output, session::Session};

const PAGE: usize = 500;
/// Whole records, with their attempts, that are asked for at the same time.
const AT_ONCE: usize = 64;

/// Which batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Works at any time, also while the batch runs, and after any restart: everything is in the store.
Reads each job once and keeps none in memory.

waiting is the time until the first attempt began (with --delay, that too), running the sum of the
attempts, retrying what lies between them. Errors are grouped without their numbers, ids and quoted
parts. The last 100 attempts of a job are known.

Examples:
  haul batch report import-7
  haul batch report import-7 --json | jq '.failures[0]'
  haul batch report import-7 --csv > import-7.csv      one row for each job")]
pub(crate) struct ReportArgs {
    /// The batch
    batch: BatchId,
    /// Print a row for each job instead
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Reports on the batch.
///
/// # Errors
/// When no job of it is known, or the store cannot be asked.
pub(super) async fn run(session: &Session, args: ReportArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let counts = find(&producer, &args.batch).await?;
    let mut summary = Summary::default();
    if args.csv {
        output::line(csv::HEADINGS)?;
    }
    let filter = Filter {
        batch: Some(args.batch.clone()),
        ..Filter::default()
    };
    let mut after = None;
    loop {
        let page = PageRequest { limit: PAGE, after };
        let Listing { records, next } = producer.list(&filter, page).await?;
        let now = producer.backend().store.now();
        let mut whole = stream::iter(records)
            .map(|record| whole(&producer, record))
            .buffered(AT_ONCE);
        while let Some(record) = whole.next().await {
            let record = record?;
            let times = Times::of(&record, now);
            if args.csv {
                output::line(csv::row(&record, times))?;
            } else {
                summary.add(&record, times);
            }
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    match (args.csv, session.json) {
        (true, _) => Ok(()),
        (false, true) => output::json(&summary.view(&counts)),
        (false, false) => summary.print(&counts, producer.backend().store.now()),
    }
}

/// A list leaves attempts out. They are read where they say more than the record does.
async fn whole(producer: &Producer, record: Record) -> Result<Record, StoreError> {
    let state = record.life.state.kind();
    let plain = matches!(state, StateKind::Running | StateKind::Succeeded);
    if record.life.starts == 0 || (record.life.starts == 1 && plain) {
        return Ok(record);
    }
    // Forgotten meanwhile: then what the list said is all there is.
    Ok(producer.find(&record.spec.id).await?.unwrap_or(record))
}

/// How long ago the batch began.
fn since(created: Timestamp, now: Timestamp) -> String {
    crate::commands::job::age(now.since(created))
}
