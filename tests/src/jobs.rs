//! Jobs, publications and records for tests, each with one line.

use std::time::Duration;

use haul_common::{
    job::{Envelope, Fence, JobId, Lane, Outcome, QueueName, Record, Spec, WorkerId, json},
    life::{Life, Stop},
    ports::{Claim, Claimed, Grant, Publication, Route, Store},
    time::Timestamp,
    wire::{Message, encode},
};

/// A queue's name.
pub fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

/// A job for `queue`, with `{"n": n}` as arguments.
pub fn spec(queue_name: &str, n: u64) -> Spec {
    let args = json(&serde_json::json!({ "n": n })).unwrap();
    Spec::new("test.count".parse().unwrap(), queue(queue_name), args)
}

/// A message for `queue` with `{"n": n}` as body.
pub fn message(queue_name: &str, n: u64) -> Message {
    encode(&Envelope::first(spec(queue_name, n), None))
}

/// The `n` of such a message.
pub fn number(message: &Message) -> u64 {
    let value: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    value["n"].as_u64().unwrap()
}

/// Message `n` to a lane, at once.
pub fn to_lane(queue_name: &str, lane: Lane, n: u64) -> Publication {
    Publication {
        message: message(queue_name, n),
        route: Route::Lane(queue(queue_name), lane),
    }
}

/// Message `n` to the normal lane, after a delay.
pub fn later(queue_name: &str, delay: Duration, coarse: bool, n: u64) -> Publication {
    Publication {
        message: message(queue_name, n),
        route: Route::Later {
            queue: queue(queue_name),
            lane: Lane::Normal,
            delay,
            coarse,
        },
    }
}

/// A queued record that is new.
pub fn record(spec: Spec) -> Record {
    Record::new(spec, Life::queued(), Timestamp::now())
}

/// A claim on the first attempt of `spec`.
pub fn claim(spec: &Spec, worker: &WorkerId) -> Claim {
    Claim {
        id: spec.id.clone(),
        attempt: 1,
        digest: spec.digest(),
        worker: worker.clone(),
        record: None,
    }
}

/// What a claim must be answered with here.
///
/// # Panics
/// When it was not granted.
pub fn granted(claimed: Claimed) -> Grant {
    match claimed {
        Claimed::Granted(grant) => grant,
        other => panic!("the claim was not granted: {other:?}"),
    }
}

/// Creates a job and claims it.
pub async fn running(store: &dyn Store, spec: &Spec, worker: &WorkerId) -> Life {
    store.create(vec![record(spec.clone())]).await.unwrap();
    granted(store.claim(claim(spec, worker)).await.unwrap()).life
}

/// The whole record, which must be there.
pub async fn found(store: &dyn Store, id: &JobId) -> Record {
    let record = store.find(id).await.unwrap();
    record.unwrap_or_else(|| panic!("there is no record of {id}"))
}

/// An attempt that failed with `error`.
pub fn failed(error: &str) -> Stop {
    Stop {
        outcome: Outcome::Failed,
        error: Some(error.to_owned()),
    }
}

/// A fence that some attempt had before `life`.
pub const fn older(life: &Life) -> Fence {
    Fence(life.fence.0 - 1)
}
