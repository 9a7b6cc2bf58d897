//! What a worker is doing, for those who watch over it.

use std::collections::BTreeSet;

use haul_common::job::{Lane, QueueName};
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
    /// Queues that are paused: nothing of them is started, and nothing is wrong.
    pub paused: Vec<String>,
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
    let has_all = |queue: &&QueueName| lanes.keys().all(|(missing, _)| missing != *queue);
    let is_paused = |queue: &&QueueName| hub.rooms[*queue].is_paused();
    let (paused, taken): (Vec<_>, Vec<_>) = hub.rooms.keys().partition(is_paused);
    let names = |queues: &[&QueueName]| queues.iter().map(ToString::to_string).collect();
    let consuming: Vec<_> = taken.into_iter().filter(has_all).collect();
    let mut missing = Vec::new();
    let stops = hub.stop.has_reached(Level::Quiet);
    if stops {
        missing.push("it stops, and starts nothing new".to_owned());
    }
    // What may be the cause of all others comes first.
    if !hub.health.is_well() {
        missing.push(format!("the store does not answer ({store})"));
    }
    if !stops {
        let causes: BTreeSet<_> = lanes.values().flatten().cloned().collect();
        missing.extend(causes);
        let none = |place: String| format!("no consumer on {place} ({broker})");
        missing.extend(places(lanes.keys()).into_iter().map(none));
    }
    Status {
        ready: missing.is_empty(),
        broker,
        store,
        consuming: names(&consuming),
        paused: names(&paused),
        running: hub.table.running().len(),
        missing,
    }
}

/// The lanes, by the name of their queue alone where it is all that it has.
fn places<'l>(lanes: impl Iterator<Item = &'l (QueueName, Lane)>) -> Vec<String> {
    let lanes: Vec<_> = lanes.collect();
    let of_one = lanes.chunk_by(|one, next| one.0 == next.0);
    let named = of_one.flat_map(|lanes| match lanes {
        [(queue, _), ..] if lanes.len() == Lane::ALL.len() => vec![queue.to_string()],
        _ => lanes
            .iter()
            .map(|(queue, lane)| format!("{queue}.{lane}"))
            .collect(),
    });
    named.collect()
}
