//! `haul queue show`

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use haul_common::ports::QueueFacts;
use haul_producer::{Lane, Pause, Producer, QueueName, StateKind, Timestamp, WorkerInfo};
use serde::Serialize;

use super::{QueueView, facts, pause_words};
use crate::{
    commands::{exporter, job::age},
    exit::{Code, Exit},
    output::{self, Cell, Table},
    session::Session,
};

/// Which queue.
#[derive(Debug, Args)]
#[command(after_help = "\
OLDEST is for how long the job has waited that has waited longest of those that may start; the
objective is what haul.toml, section [exporter], wants of the queue. Ends with 5 if neither a job nor
a worker nor the broker knows the queue.

Examples:
  haul queue show mail
  haul queue show mail --json | jq .oldest_ms")]
pub(crate) struct ShowArgs {
    /// The queue
    queue: QueueName,
}

/// A queue with all that is known of it.
#[derive(Debug)]
struct Look {
    view: QueueView,
    facts: QueueFacts,
    oldest: Option<Timestamp>,
    objective: Option<Duration>,
    pause: Option<Pause>,
    workers: Vec<WorkerInfo>,
    now: Timestamp,
}

/// The same, as JSON.
#[derive(Debug, Serialize)]
struct ShowView<'a> {
    #[serde(flatten)]
    view: &'a QueueView,
    consumers: BTreeMap<&'static str, u64>,
    dead_letters: u64,
    oldest_ms: Option<u128>,
    objective_ms: Option<u128>,
    served_by: Vec<WorkerView<'a>>,
}

#[derive(Debug, Serialize)]
struct WorkerView<'a> {
    id: &'a str,
    host: &'a str,
    pid: u32,
    started_at: String,
    slots: u32,
    quiet: bool,
}

/// Shows the queue.
///
/// # Errors
/// When nobody knows it, or the backend cannot be asked.
pub(super) async fn run(session: &Session, args: ShowArgs) -> anyhow::Result<()> {
    let objective = exporter::objective(&session.settings.exporter, &args.queue)?;
    let producer = session.connect().await?;
    let look = look(&producer, args.queue, objective).await?;
    if session.json {
        return output::json(&look.as_view());
    }
    look.print()?;
    if look.pause.is_some() {
        session.say(format!("next: haul queue resume {}", look.view.queue));
    }
    Ok(())
}

async fn look(
    producer: &Producer,
    queue: QueueName,
    objective: Option<Duration>,
) -> anyhow::Result<Look> {
    let store = &producer.backend().store;
    let (counts, mut workers) = (producer.counts().await?, producer.workers().await?);
    workers.retain(|worker| worker.queues.contains_key(&queue));
    let counts = counts.iter().find(|one| one.queue == queue);
    let pause = producer.pauses().await?.remove(&queue);
    let facts = facts(producer, &queue).await?;
    if counts.is_none() && workers.is_empty() && pause.is_none() && facts.is_none() {
        let text = format!("no queue `{queue}` is known; see haul queue list");
        return Err(Exit::with(Code::NotFound, text));
    }
    let facts = facts.unwrap_or_default();
    let oldest = store.oldest(std::slice::from_ref(&queue)).await?;
    Ok(Look {
        view: QueueView::new(queue, counts, &facts, &workers, pause.as_ref()),
        oldest: oldest.into_iter().next().flatten(),
        now: store.now(),
        facts,
        objective,
        pause,
        workers,
    })
}

impl Look {
    fn oldest(&self) -> Option<Duration> {
        self.oldest.map(|since| self.now.since(since))
    }

    fn slots(&self, worker: &WorkerInfo) -> u32 {
        worker.queues.get(&self.view.queue).copied().unwrap_or(0)
    }

    fn worker<'w>(&self, worker: &'w WorkerInfo) -> WorkerView<'w> {
        WorkerView {
            id: &worker.id,
            host: &worker.host,
            pid: worker.pid,
            started_at: worker.started.to_string(),
            slots: self.slots(worker),
            quiet: worker.quiet,
        }
    }

    fn as_view(&self) -> ShowView<'_> {
        let worker = |worker| self.worker(worker);
        ShowView {
            view: &self.view,
            consumers: Lane::ALL
                .map(|lane| (lane.as_str(), self.facts.lanes[lane.index()].consumers))
                .into(),
            dead_letters: self.facts.dead,
            oldest_ms: self.oldest().map(|oldest| oldest.as_millis()),
            objective_ms: self.objective.map(|objective| objective.as_millis()),
            served_by: self.workers.iter().map(worker).collect(),
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        output::line(&self.view.queue)?;
        if let Some(pause) = &self.pause {
            let words = pause_words(pause, self.now);
            output::line(format!("  paused        {words}"))?;
        }
        let objective = self.objective.map_or_else(String::new, |objective| {
            format!("  (objective: {})", age(objective))
        });
        let oldest = self.oldest().map_or_else(
            || "none waits".to_owned(),
            |oldest| format!("has waited {}", age(oldest)),
        );
        output::line(format!("  oldest        {oldest}{objective}"))?;
        output::line(format!("  dead letters  {}", self.facts.dead))?;
        self.states().print()?;
        self.lanes().print()?;
        if self.workers.is_empty() {
            return output::line("  no worker");
        }
        self.served_by().print()
    }

    fn states(&self) -> Table {
        let mut table = Table::new(vec![Cell::from("  STATE"), Cell::right("JOBS")]);
        for state in StateKind::ALL {
            let name = Cell::state(format!("  {state}"), *state);
            table.row(vec![name, Cell::number(self.view.count(*state))]);
        }
        table
    }

    fn lanes(&self) -> Table {
        let headings = [Cell::right("READY"), Cell::right("CONSUMERS")];
        let mut table = Table::new([Cell::from("  LANE")].into_iter().chain(headings).collect());
        for (lane, facts) in Lane::ALL.iter().zip(&self.facts.lanes) {
            table.row(vec![
                Cell::from(format!("  {lane}")),
                Cell::number(facts.ready),
                Cell::number(facts.consumers),
            ]);
        }
        table
    }

    fn served_by(&self) -> Table {
        let headings = ["  WORKER", "HOST", "PID", "UP"].map(Cell::from);
        let more = [Cell::right("SLOTS"), Cell::from("")];
        let mut table = Table::new(headings.into_iter().chain(more).collect());
        for worker in &self.workers {
            table.row(vec![
                Cell::from(format!("  {}", worker.id)),
                Cell::from(worker.host.as_str()),
                Cell::from(worker.pid.to_string()),
                Cell::from(age(self.now.since(worker.started))),
                Cell::number(self.slots(worker).into()),
                Cell::from(if worker.quiet { "quiet" } else { "" }),
            ]);
        }
        table
    }
}
