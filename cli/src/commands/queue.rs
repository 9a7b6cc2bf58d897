//! `haul queue`

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use haul_common::ports::{BrokerError, QueueFacts};
use haul_producer::{Lane, Producer, QueueName, StateKind};
use serde::Serialize;

use super::run::is_run_queue;
use crate::{
    output::{self, Cell, Table},
    session::Session,
};

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues: jobs by state, messages that wait by lane, workers
    List(ListArgs),
}

/// Which queues.
#[derive(Debug, Args)]
#[command(after_help = "\
READY is what waits in the broker, by lane: critical/high/normal/low. A `haul run` has a queue of
its own; those with nothing left to do are shown with --all only.

Examples:
  haul queue list
  haul queue list --json | jq 'select(.states.dead > 0)'")]
pub(crate) struct ListArgs {
    /// Also show the queues of runs that are over
    #[arg(long)]
    all: bool,
}

/// A queue, as JSON.
#[derive(Debug, Serialize)]
struct QueueView {
    queue: QueueName,
    states: BTreeMap<&'static str, u64>,
    ready: BTreeMap<&'static str, u64>,
    workers: usize,
    slots: u32,
}

/// Runs the command.
///
/// # Errors
/// When the backend cannot be asked.
pub(crate) async fn run(session: &Session, command: QueueCommand) -> anyhow::Result<()> {
    let QueueCommand::List(args) = command;
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
    let mut names: BTreeSet<QueueName> = counts.iter().map(|one| one.queue.clone()).collect();
    names.extend(
        workers
            .iter()
            .flat_map(|worker| worker.queues.keys().cloned()),
    );
    let mut views = Vec::with_capacity(names.len());
    for queue in names {
        let found = counts.iter().find(|one| one.queue == queue);
        let count = |state| {
            found
                .and_then(|one| one.states.get(state))
                .copied()
                .unwrap_or(0)
        };
        let facts = facts(producer, &queue).await?;
        let slots = workers
            .iter()
            .filter_map(|worker| worker.queues.get(&queue));
        views.push(QueueView {
            states: StateKind::ALL
                .iter()
                .map(|state| (state.as_str(), count(state)))
                .collect(),
            ready: Lane::ALL
                .map(|lane| (lane.as_str(), facts.lanes[lane.index()].ready))
                .into(),
            workers: slots.clone().count(),
            slots: slots.sum(),
            queue,
        });
    }
    Ok(views)
}

/// What waits in the broker; nothing where the broker does not know the queue yet.
async fn facts(producer: &Producer, queue: &QueueName) -> anyhow::Result<QueueFacts> {
    match producer.backend().broker.facts(queue).await {
        Err(BrokerError::Failed { .. }) => Ok(QueueFacts::default()),
        answer => Ok(answer?),
    }
}

impl QueueView {
    fn count(&self, state: StateKind) -> u64 {
        self.states.get(state.as_str()).copied().unwrap_or(0)
    }

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
        ]);
        table.row(row);
    }
    table
}
