//! `haul job list`

use clap::Args;
use haul_common::job::Record;
use haul_producer::{Listing, PageRequest, Timestamp};

use super::{age, select, show::state_words};
use crate::{
    output::{self, Cell, Table, first_line},
    session::Session,
    view::JobView,
};

/// Records that are asked for at a time.
const PAGE: usize = 500;

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Filter words, all of which must hold:
  state:dead,cancelled  task:email.*  queue:mail  lane:high  reason:exhausted
  error:timeout  tag:eu  batch:ID  age:>1h  age:<30m

Examples:
  haul job list
  haul job list state:dead 'age:<1h'
  haul job list batch:import-7 --all --json | jq -r .id")]
pub(crate) struct ListArgs {
    /// Words that choose jobs [default: all jobs]
    #[arg(value_name = "FILTER")]
    words: Vec<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Go on where the list before ended: the cursor that it printed
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Lists the jobs.
///
/// # Errors
/// When the filter is wrong, or the store cannot be asked.
pub(super) async fn run(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let filter = select::filter(&args.words)?;
    let producer = session.connect().await?;
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut after = args.after;
    let mut rows = Vec::new();
    while left > 0 {
        let page = PageRequest {
            limit: left.min(PAGE),
            after: after.take(),
        };
        let Listing { records, next } = producer.list(&filter, page).await?;
        left = left.saturating_sub(records.len());
        after = next;
        if session.json {
            records
                .iter()
                .try_for_each(|record| output::json(&JobView::from(record)))?;
        } else {
            let now = producer.backend().store.now();
            rows.extend(records.iter().map(|record| row(record, now)));
        }
        if after.is_none() {
            break;
        }
    }
    if !session.json && rows.is_empty() {
        session.say("no jobs match");
    } else if !session.json {
        table(rows).print()?;
    }
    if let Some(cursor) = after {
        session.say(format!("more: add --after {cursor}, or --all"));
    }
    Ok(())
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    let headings = ["ID", "TASK", "QUEUE", "STATE", "ATTEMPT", "AGE", "ERROR"];
    let mut table = Table::new(headings.into_iter().map(Cell::from).collect());
    for row in rows {
        table.row(row);
    }
    table
}

fn row(record: &Record, now: Timestamp) -> Vec<Cell> {
    let Record { spec, life, .. } = record;
    vec![
        Cell::from(&*spec.id),
        Cell::from(first_line(&spec.task, 40)),
        Cell::from(format!("{}/{}", spec.queue, spec.lane)),
        Cell::state(state_words(record), life.state.kind()),
        Cell::from(format!("{}/{}", life.attempt, spec.max_attempts)),
        Cell::from(age(now.since(record.created))),
        Cell::from(first_line(life.error.as_deref().unwrap_or_default(), 60)),
    ]
}
