//! `haul batch list`

use clap::Args;
use haul_producer::{BatchCounts, BatchListing, PageRequest, StateKind, Timestamp};

use super::BatchView;
use crate::{
    commands::job::age,
    output::{self, Cell, Table},
    session::Session,
};

/// Batches that are asked for at a time.
const PAGE: usize = 500;
/// Those that wait for a worker, for their time or for other jobs.
const WAITING: [StateKind; 3] = [StateKind::Blocked, StateKind::Scheduled, StateKind::Queued];
const SHOWN: [StateKind; 5] = [
    StateKind::Running,
    StateKind::Retrying,
    StateKind::Succeeded,
    StateKind::Dead,
    StateKind::Cancelled,
];

/// Which batches.
#[derive(Debug, Args)]
#[command(after_help = "\
A batch is what `haul job push --batch ID` names, what a `haul run` submits, and whatever another
client sends as correlation id. AGE is that of its first job. A batch is forgotten with its last job.

Examples:
  haul batch list
  haul batch list --all --json | jq 'select(.states.dead > 0) | .batch'")]
pub(crate) struct ListArgs {
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

/// Lists the batches.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn run(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut after = args.after;
    let mut rows = Vec::new();
    while left > 0 {
        let page = PageRequest {
            limit: left.min(PAGE),
            after: after.take(),
        };
        let BatchListing { batches, next } = producer.batches(page).await?;
        left = left.saturating_sub(batches.len());
        after = next;
        if session.json {
            let mut views = batches.iter().map(BatchView::from);
            views.try_for_each(|view| output::json(&view))?;
        } else {
            let now = producer.backend().store.now();
            rows.extend(batches.iter().map(|batch| row(batch, now)));
        }
        if after.is_none() {
            break;
        }
    }
    if !session.json && rows.is_empty() {
        session.say("no batches yet; name one with: haul job push --batch ID");
    } else if !session.json {
        table(rows).print()?;
    }
    if let Some(cursor) = after {
        session.say(format!("more: add --after {cursor}, or --all"));
    }
    Ok(())
}

fn table(rows: Vec<Vec<Cell>>) -> Table {
    let mut headings = vec![
        Cell::from("BATCH"),
        Cell::right("JOBS"),
        Cell::right("WAITING"),
    ];
    headings.extend(SHOWN.map(|state| Cell::right(&state.as_str().to_uppercase())));
    headings.push(Cell::right("AGE"));
    let mut table = Table::new(headings);
    for row in rows {
        table.row(row);
    }
    table
}

fn row(batch: &BatchCounts, now: Timestamp) -> Vec<Cell> {
    let waiting = WAITING.iter().map(|state| batch.count(*state)).sum();
    let mut row = vec![
        Cell::from(&*batch.batch),
        Cell::number(batch.jobs()),
        Cell::number(waiting),
    ];
    row.extend(SHOWN.map(|state| Cell::number(batch.count(state))));
    row.push(Cell::right(&age(now.since(batch.created))));
    row
}
