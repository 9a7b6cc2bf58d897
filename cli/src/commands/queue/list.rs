//! `haul queue list`

use std::collections::BTreeSet;

use clap::Args;
use haul_producer::{Lane, Producer, QueueName, StateKind};

use super::{QueueView, facts};
use crate::{
    commands::run::is_run_queue,
    output::{self, Cell, Table},
    session::Session,
};

/// Which queues.
#[derive(Debug, Args)]
#[command(after_help = "\
READY is what waits in the broker, by lane: critical/high/normal/low. A `haul run` has a queue of
its own; those with nothing left to do are shown with --all only.

Examples:
  haul queue list
  haul queue list --json | jq 'select(.states.dead > 0)'
  haul queue list --json | jq 'select(.paused)'")]
pub(crate) struct ListArgs {
    /// Also show the queues of runs that are over
    #[arg(long)]
    all: bool,
}

/// Lists them.
///
/// # Errors
/// When the backend cannot be asked.
pub(super) async fn run(session: &Session, args: ListArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let mut queues = collect(&producer).await?;
    let known = queues.len();
    queues.retain(|queue| args.all || !queue.is_finished_run());
    let hidden = known - queues.len();
    if session.json {
        return queues.iter().try_for_each(output::json);
    }
    if queues.is_empty() {
        session.say("no queues yet; one begins with its first job or worker");
    } else {
        table(&queues).print()?;
    }
    if hidden > 0 {
        session.say(format!("{hidden} of runs that are over, not shown (--all)"));
    }
    Ok(())
}

async fn collect(producer: &Producer) -> anyhow::Result<Vec<QueueView>> {
    let counts = producer.counts().await?;
    let workers = producer.workers().await?;
    let pauses = producer.pauses().await?;
    let mut names: BTreeSet<QueueName> = counts.iter().map(|one| one.queue.clone()).collect();
    let served = workers.iter().flat_map(|worker| worker.queues.keys());
    names.extend(served.chain(pauses.keys()).cloned());
    let mut views = Vec::with_capacity(names.len());
    for queue in names {
        let found = counts.iter().find(|one| one.queue == queue);
        let facts = facts(producer, &queue).await?.unwrap_or_default();
        let pause = pauses.get(&queue);
        views.push(QueueView::new(queue, found, &facts, &workers, pause));
    }
    Ok(views)
}

impl QueueView {
    fn is_finished_run(&self) -> bool {
        let open = StateKind::ALL.iter().filter(|state| !state.is_terminal());
        is_run_queue(&self.queue) && open.map(|state| self.count(*state)).sum::<u64>() == 0
    }
}

fn table(queues: &[QueueView]) -> Table {
    let mut headings = vec![Cell::from("QUEUE"), Cell::from("READY c/h/n/l")];
    headings.extend(
        StateKind::ALL
            .iter()
            .map(|state| Cell::right(&state.as_str().to_uppercase())),
    );
    headings.extend([Cell::right("WORKERS"), Cell::right("SLOTS")]);
    headings.push(Cell::from("PAUSED"));
    let mut table = Table::new(headings);
    for queue in queues {
        let ready = Lane::ALL.map(|lane| queue.ready.get(lane.as_str()).map_or(0, |n| *n));
        let mut row = vec![
            Cell::from(&*queue.queue),
            Cell::from(ready.map(|n| n.to_string()).join("/")),
        ];
        row.extend(
            StateKind::ALL
                .iter()
                .map(|state| Cell::number(queue.count(*state))),
        );
        row.extend([
            Cell::number(queue.workers as u64),
            Cell::number(queue.slots.into()),
            Cell::from(if queue.paused.is_some() { "paused" } else { "" }),
        ]);
        table.row(row);
    }
    table
}
