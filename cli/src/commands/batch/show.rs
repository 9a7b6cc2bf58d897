//! `haul batch show`

use clap::Args;
use haul_producer::{BatchCounts, BatchId, StateKind, Timestamp};

use super::{BatchView, ended, find};
use crate::{
    commands::job::age,
    output::{self, Cell, Table},
    session::Session,
};

/// Which batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Costs the same however many jobs there are. Ends with 5 if no job of the batch is known.

Examples:
  haul batch show import-7
  haul batch show import-7 --json | jq .states.dead")]
pub(crate) struct ShowArgs {
    /// The batch
    batch: BatchId,
}

/// Shows the batch.
///
/// # Errors
/// When no job of it is known, or the store cannot be asked.
pub(super) async fn run(session: &Session, args: ShowArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let counts = find(&producer, &args.batch).await?;
    if session.json {
        return output::json(&BatchView::from(&counts));
    }
    describe(&counts, producer.backend().store.now())?;
    if let Some(next) = next(&counts) {
        session.say(format!("next: {next}"));
    }
    Ok(())
}

fn describe(counts: &BatchCounts, now: Timestamp) -> anyhow::Result<()> {
    output::line(&counts.batch)?;
    let created = counts.created;
    output::line(format!(
        "  created    {created}  ({} ago)",
        age(now.since(created))
    ))?;
    output::line(format!(
        "  jobs       {}, {} ended",
        counts.jobs(),
        ended(counts)
    ))?;
    let mut table = Table::new(vec![Cell::from("  STATE"), Cell::right("JOBS")]);
    for (state, number) in &counts.states {
        let name = Cell::state(format!("  {state}"), *state);
        table.row(vec![name, Cell::number(*number)]);
    }
    table.print()
}

/// What a person most likely wants to do now.
fn next(counts: &BatchCounts) -> Option<String> {
    let batch = &counts.batch;
    if counts.count(StateKind::Dead) > 0 {
        return Some(format!(
            "haul batch report {batch} | haul batch retry {batch}"
        ));
    }
    let open = ended(counts) < counts.jobs();
    open.then(|| format!("haul batch watch {batch}"))
}
