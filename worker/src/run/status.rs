//! What a worker is doing, for those who watch over it.

use serde::Serialize;

use super::Hub;
use crate::{endpoint::Answer, stop::Level};

/// What a worker is doing.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// It gets jobs, and can run them.
    pub ready: bool,
    /// What keeps its work.
    pub broker: &'static str,
    /// What keeps its records.
    pub store: &'static str,
    /// Queues of which every lane has its consumer.
    pub consuming: Vec<String>,
    /// Attempts that run.
    pub running: usize,
    /// Why it is not ready.
    pub missing: Vec<String>,
}

impl Status {
    pub(super) fn answer(&self) -> Answer {
        Answer::json(self.ready, self)
    }
}

pub(super) fn of(hub: &Hub) -> Status {
    let backend = hub.protocol.backend();
    let (broker, store) = (backend.broker.kind(), backend.store.kind());
    let lanes = hub.readiness.missing();
    let has_all =
        |queue: &&haul_common::job::QueueName| lanes.iter().all(|(missing, _)| missing != *queue);
    let consuming = hub.worker.queues.keys().filter(has_all);
    let consuming = consuming.map(ToString::to_string).collect();
    let mut missing = Vec::new();
    if hub.stop.has_reached(Level::Quiet) {
        missing.push("it stops, and starts nothing new".to_owned());
    } else {
        let none = |(queue, lane)| format!("no consumer on {queue}.{lane} ({broker})");
        missing.extend(lanes.into_iter().map(none));
    }
    if !hub.health.is_well() {
        missing.push(format!("the store does not answer ({store})"));
    }
    Status {
        ready: missing.is_empty(),
        broker,
        store,
        consuming,
        running: hub.table.running().len(),
        missing,
    }
}
