//! Messages as they are on the wire, checked in below `golden/`: what was published once must be
//! read for ever, and is refused for ever.

use std::{fs, path::Path};

use haul_common::{
    job::{Envelope, Reason, Spec},
    time::Timestamp,
    wire::{Head, Message, decode, topology::origin_of},
};
use serde::Deserialize;
use serde_json::Value;

/// When all of them arrive: 2027-01-31T09:30:00Z.
pub const ARRIVAL: Timestamp = Timestamp::from_millis(1_801_387_800_000);

/// A message, and the job that it is.
#[derive(Debug, Deserialize)]
pub struct Golden {
    /// The file.
    #[serde(skip)]
    pub name: String,
    /// Where it is published.
    pub routing_key: String,
    /// Its properties and headers.
    pub head: Head,
    /// Its body.
    pub body: String,
    /// What it is read as.
    pub job: Job,
    /// Haul publishes just this for the job.
    #[serde(default)]
    pub ours: bool,
    /// What it is the dead letter of.
    pub dead: Option<Death>,
}

/// What a message is read as.
#[derive(Debug, Deserialize)]
pub struct Job {
    spec: Value,
    attempt: u32,
    due: Option<Timestamp>,
    guard: bool,
}

/// What killed a job.
#[derive(Debug, Deserialize)]
pub struct Death {
    /// Why it is dead.
    pub reason: Reason,
    /// What went wrong.
    pub error: String,
}

/// A message that is no job.
#[derive(Debug, Deserialize)]
pub struct Wrong {
    /// What is wrong with it.
    pub about: String,
    /// Where it is published.
    pub routing_key: String,
    /// Its properties and headers.
    pub head: Head,
    /// Its body.
    pub body: String,
    /// What is named as wrong.
    pub field: String,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All that are jobs.
pub fn jobs() -> Vec<Golden> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let golden = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        let golden: Golden = golden.unwrap_or_else(|error| panic!("{name}: {error}"));
        all.push(Golden { name, ..golden });
    }
    assert!(all.len() >= 10, "only {} files", all.len());
    all
}

/// All that are none.
pub fn wrong() -> Vec<Wrong> {
    let text = fs::read_to_string(folder().join("wrong/messages.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Golden {
    /// The message.
    pub fn message(&self) -> Message {
        Message {
            head: self.head.clone(),
            body: self.body.clone().into(),
        }
    }

    fn spec(&self) -> Spec {
        // Through text: arguments are kept as they are written.
        serde_json::from_str(&self.job.spec.to_string()).unwrap()
    }

    /// The job.
    pub fn envelope(&self) -> Envelope {
        let args = serde_json::from_str(&self.body).unwrap();
        Envelope {
            attempt: self.job.attempt,
            guard: self.job.guard,
            ..Envelope::first(
                Spec {
                    args,
                    ..self.spec()
                },
                self.job.due,
            )
        }
    }

    /// Claims that `message`, as it came, is read as the job.
    pub fn is_read_from(&self, message: &Message) {
        let name = &self.name;
        let (queue, lane) = origin_of(&self.routing_key).unwrap();
        let read = decode(message, (&queue, lane), ARRIVAL);
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(value(&read.spec), value(&self.spec()), "{name}");
        assert_eq!(read.spec.args.get(), self.body, "{name}");
        assert_eq!(read.attempt, self.job.attempt, "{name}");
        assert_eq!(read.due, self.job.due, "{name}");
        assert_eq!(read.guard, self.job.guard, "{name}");
    }
}

/// As it is kept, for people to compare.
fn value(spec: &Spec) -> Value {
    serde_json::from_str(&serde_json::to_string(spec).unwrap()).unwrap()
}

impl Wrong {
    /// The message.
    pub fn message(&self) -> Message {
        Message {
            head: self.head.clone(),
            body: self.body.clone().into(),
        }
    }
}

/// A message as `haul schema job` describes it; nothing when its body is no JSON.
pub fn instance(routing_key: &str, head: &Head, body: &str) -> Option<Value> {
    let mut instance = serde_json::to_value(head).unwrap();
    instance["routing_key"] = routing_key.into();
    instance["body"] = serde_json::from_str(body).ok()?;
    Some(instance)
}
