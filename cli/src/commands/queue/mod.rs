//! `haul queue`: what waits where, and who may start it.

mod list;
mod pause;
mod purge;
mod show;

use std::collections::BTreeMap;

use clap::Subcommand;
use haul_common::ports::{BrokerError, QueueFacts};
use haul_producer::{
    Lane, Pause, Producer, QueueCounts, QueueName, StateKind, Timestamp, WorkerInfo,
};
use serde::Serialize;

use super::job::age;
use crate::{output::first_line, session::Session};

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List queues: jobs by state, messages that wait by lane, workers
    List(list::ListArgs),
    /// Show a queue: jobs, lanes, the oldest job, its pause, who works on it
    Show(show::ShowArgs),
    /// Pause a queue: workers start nothing new of it, what runs goes on
    Pause(pause::PauseArgs),
    /// Let a paused queue go on
    Resume(pause::ResumeArgs),
    /// Cancel the jobs that wait in a queue
    Purge(purge::PurgeArgs),
}

/// Runs the command.
///
/// # Errors
/// When the backend cannot be asked, or what was asked for cannot be done.
pub(crate) async fn run(session: &Session, command: QueueCommand) -> anyhow::Result<()> {
    match command {
        QueueCommand::List(args) => list::run(session, args).await,
        QueueCommand::Show(args) => show::run(session, args).await,
        QueueCommand::Pause(args) => pause::pause(session, args).await,
        QueueCommand::Resume(args) => pause::resume(session, args).await,
        QueueCommand::Purge(args) => purge::run(session, args).await,
    }
}

/// A queue, as JSON.
#[derive(Debug, Serialize)]
struct QueueView {
    queue: QueueName,
    states: BTreeMap<&'static str, u64>,
    ready: BTreeMap<&'static str, u64>,
    workers: usize,
    slots: u32,
    paused: Option<PauseView>,
}

/// A pause, as JSON.
#[derive(Debug, Serialize)]
struct PauseView {
    since: String,
    by: String,
    reason: Option<String>,
}

impl QueueView {
    fn new(
        queue: QueueName,
        counts: Option<&QueueCounts>,
        facts: &QueueFacts,
        workers: &[WorkerInfo],
        pause: Option<&Pause>,
    ) -> Self {
        let count = |state| counts.and_then(|one| one.states.get(state)).copied();
        let slots = workers
            .iter()
            .filter_map(|worker| worker.queues.get(&queue));
        Self {
            states: StateKind::ALL
                .iter()
                .map(|state| (state.as_str(), count(state).unwrap_or(0)))
                .collect(),
            ready: Lane::ALL
                .map(|lane| (lane.as_str(), facts.lanes[lane.index()].ready))
                .into(),
            workers: slots.clone().count(),
            slots: slots.sum(),
            paused: pause.map(PauseView::from),
            queue,
        }
    }

    fn count(&self, state: StateKind) -> u64 {
        self.states.get(state.as_str()).copied().unwrap_or(0)
    }
}

impl From<&Pause> for PauseView {
    fn from(pause: &Pause) -> Self {
        Self {
            since: pause.since.to_string(),
            by: pause.by.clone(),
            reason: pause.reason.clone(),
        }
    }
}

/// What waits in the broker; nothing where the broker does not know the queue yet.
async fn facts(producer: &Producer, queue: &QueueName) -> anyhow::Result<Option<QueueFacts>> {
    match producer.backend().broker.facts(queue).await {
        Err(BrokerError::Failed { .. }) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

/// Since when, by whom and what for.
pub(crate) fn pause_words(pause: &Pause, now: Timestamp) -> String {
    let (since, by) = (age(now.since(pause.since)), first_line(&pause.by, 80));
    let reason = pause
        .reason
        .as_deref()
        .map(|reason| first_line(reason, 200));
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("for {since}, by {by}{reason}")
}
