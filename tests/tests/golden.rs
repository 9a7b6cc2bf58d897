//! Messages as they are on the wire, checked in: what was published once must be read for ever.
//! Producers in other languages are tested against the same files.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{fs, path::Path};

use haul_common::{
    job::{Envelope, Reason, Spec},
    life::{Life, Stop},
    time::Timestamp,
    wire::{Head, Message, dead, decode, encode, topology::origin_of},
};
use serde::Deserialize;
use serde_json::Value;

/// When all of them arrive: 2027-01-31T09:30:00Z.
const ARRIVAL: Timestamp = Timestamp::from_millis(1_801_387_800_000);

#[derive(Deserialize)]
struct Golden {
    routing_key: String,
    head: Head,
    body: String,
    job: Job,
    /// Haul publishes just this for the job.
    #[serde(default)]
    ours: bool,
    dead: Option<Death>,
}

#[derive(Deserialize)]
struct Job {
    spec: Value,
    attempt: u32,
    due: Option<Timestamp>,
    guard: bool,
}

#[derive(Deserialize)]
struct Death {
    reason: Reason,
    error: String,
}

impl Golden {
    fn message(&self) -> Message {
        Message {
            head: self.head.clone(),
            body: self.body.clone().into(),
        }
    }

    fn envelope(&self) -> Envelope {
        // Through text: arguments are kept as they are written.
        let spec: Spec = serde_json::from_str(&self.job.spec.to_string()).unwrap();
        let args = serde_json::from_str(&self.body).unwrap();
        Envelope {
            attempt: self.job.attempt,
            guard: self.job.guard,
            ..Envelope::first(Spec { args, ..spec }, self.job.due)
        }
    }
}

fn each(check: impl Fn(&str, &Golden)) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let files: Vec<_> = fs::read_dir(dir).unwrap().collect();
    assert!(files.len() >= 10, "only {} files", files.len());
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let golden = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        check(
            name,
            &golden.unwrap_or_else(|error| panic!("{name}: {error}")),
        );
    }
}

#[test]
fn every_golden_message_is_read_as_the_job_beside_it() {
    each(|name, golden| {
        let (queue, lane) = origin_of(&golden.routing_key).unwrap();
        let read = decode(&golden.message(), (&queue, lane), ARRIVAL);
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = serde_json::to_string(&read.spec).unwrap();
        let spec: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(spec, golden.job.spec, "{name}");
        assert_eq!(read.spec.args.get(), golden.body, "{name}");
        assert_eq!(read.attempt, golden.job.attempt, "{name}");
        assert_eq!(read.due, golden.job.due, "{name}");
        assert_eq!(read.guard, golden.job.guard, "{name}");
    });
}

#[test]
fn what_haul_publishes_is_the_golden_message() {
    each(|name, golden| {
        if golden.ours {
            assert_eq!(encode(&golden.envelope()), golden.message(), "{name}");
        }
    });
}

#[test]
fn a_dead_letter_is_the_golden_one() {
    each(|name, golden| {
        let Some(death) = &golden.dead else { return };
        let envelope = golden.envelope();
        let mut life = Life::queued();
        life.attempt = envelope.attempt;
        let worker = "w-1".parse().unwrap();
        let running = life
            .claim(worker, life.fence.next(1), ARRIVAL)
            .unwrap()
            .life;
        let stop = Stop {
            outcome: haul_common::job::Outcome::Failed,
            error: Some(death.error.clone()),
        };
        let life = running.die(death.reason, stop, ARRIVAL).unwrap().life;
        let letter = dead(encode(&envelope), &envelope.spec, &life);
        assert_eq!(letter, golden.message(), "{name}");
    });
}
