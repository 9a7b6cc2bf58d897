//! Every key and channel of the store: made here and nowhere else.
//!
//! All begin `{<namespace>}:`, one slot of a cluster, so that a script may touch a job, its batch
//! and its indexes at once. Scripts that only learn a job's queue from its record get a prefix
//! from here and append `<queue>:<state>`, or an id.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `job:<id>` | hash | the record, see [`super::record`] |
//! | `saved:<id>` | hash | checkpoint and results of steps |
//! | `scripts` | set | names of scripts that people stored |
//! | `script:<name>` | list | its versions, the latest first |
//! | `index:<queue>:<state>` | sorted set | ids by creation, ms |
//! | `batch:<batch>` | sorted set | ids by creation, ms |
//! | `tally:<batch>` | hash | how many of its jobs went from one state to another, see below |
//! | `batches` | sorted set | batches by the creation of their first job, ms |
//! | `queues` | set | names of queues that ever had a job |
//! | `paused` | hash | queues that are paused, each with its [`crate::ports::Pause`] as JSON |
//! | `expiry` | sorted set | times at which ended jobs may be forgotten, ms |
//! | `expiry:<time>` | list | those jobs: when each ended, ms, and its id |
//! | `worker:<id>` | string | the description of a worker that beats, with a time to live |
//! | `silence:<id>` | string | since when nobody is seen to listen for a worker that may be gone, ms |
//! | `workers` | sorted set | ids by last beat, ms |
//! | `filing` | string | who files all records again just now, with a time to live |
//! | `filed` | string | the life of the server (`run_id`) in which all records were filed |
//! | `since` | string | when this memory began, ms: younger than a heartbeat, it proves nothing |
//! | `life` | string | when somebody first said that he lives in this life of the server, ms, or 0 in a memory's first; a bar, and that life (`run_id`) |
//!
//! The fields of a tally are `<from>><to>`; nothing stands for before a job came and after it was
//! forgotten. So a step is one count, not two: what came into a state, less what left it, is there.
//!
//! Channels: `job:<id>` for each job, named as its key; `watch:cancels`, which makes workers beat; and `alive:<id>`, which a
//! worker listens to as long as it has a connection, and where nobody says anything.

use crate::{
    job::{QueueName, ScriptName, StateKind, WorkerId},
    ports::Topic,
    wire::topology::Namespace,
};

/// Makes keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(namespace: &Namespace) -> Self {
        Self {
            prefix: format!("{{{}}}:", namespace.as_str()),
        }
    }

    fn key(&self, parts: [&str; 2]) -> String {
        [self.prefix.as_str(), parts[0], parts[1]].concat()
    }

    pub(super) fn job(&self, id: &str) -> String {
        self.key(["job:", id])
    }

    pub(super) fn saved(&self, id: &str) -> String {
        self.key(["saved:", id])
    }

    pub(super) fn scripts(&self) -> String {
        self.key(["scripts", ""])
    }

    pub(super) fn script(&self, name: &ScriptName) -> String {
        self.key(["script:", name])
    }

    pub(super) fn indexes(&self) -> String {
        self.key(["index:", ""])
    }

    pub(super) fn index(&self, queue: &QueueName, state: StateKind) -> String {
        format!("{}index:{queue}:{state}", self.prefix)
    }

    pub(super) fn batches(&self) -> String {
        self.key(["batch:", ""])
    }

    pub(super) fn batch(&self, batch: &str) -> String {
        self.key(["batch:", batch])
    }

    pub(super) fn tallies(&self) -> String {
        self.key(["tally:", ""])
    }

    pub(super) fn tally(&self, batch: &str) -> String {
        self.key(["tally:", batch])
    }

    pub(super) fn all_batches(&self) -> String {
        self.key(["batches", ""])
    }

    pub(super) fn queues(&self) -> String {
        self.key(["queues", ""])
    }

    pub(super) fn paused(&self) -> String {
        self.key(["paused", ""])
    }

    pub(super) fn expiry(&self) -> String {
        self.key(["expiry", ""])
    }

    pub(super) fn worker(&self, worker: &WorkerId) -> String {
        self.key(["worker:", worker])
    }

    pub(super) fn silence(&self, worker: &WorkerId) -> String {
        self.key(["silence:", worker])
    }

    pub(super) fn alive(&self, worker: &WorkerId) -> String {
        self.key(["alive:", worker])
    }

    pub(super) fn workers(&self) -> String {
        self.key(["workers", ""])
    }

    pub(super) fn filing(&self) -> String {
        self.key(["filing", ""])
    }

    pub(super) fn filed(&self) -> String {
        self.key(["filed", ""])
    }

    pub(super) fn since(&self) -> String {
        self.key(["since", ""])
    }

    pub(super) fn life(&self) -> String {
        self.key(["life", ""])
    }

    pub(super) fn cancels(&self) -> String {
        self.key(["watch:cancels", ""])
    }

    pub(super) fn topic(&self, topic: &Topic) -> String {
        match topic {
            Topic::Job(id) => self.job(id),
            Topic::Cancels => self.cancels(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_slot_of_the_namespace() {
        let keys = Keys::new(&Namespace::new("fleet").unwrap());
        let queue: QueueName = "mail".parse().unwrap();
        for key in [
            keys.job("j"),
            keys.saved("j"),
            keys.scripts(),
            keys.script(&"s".parse().unwrap()),
            keys.index(&queue, StateKind::Dead),
            keys.batch("b"),
            keys.tally("b"),
            keys.all_batches(),
            keys.queues(),
            keys.paused(),
            keys.expiry(),
            keys.worker(&"w".parse().unwrap()),
            keys.workers(),
            keys.since(),
            keys.life(),
            keys.filing(),
            keys.filed(),
            keys.cancels(),
        ] {
            assert!(key.starts_with("{fleet}:"), "{key}");
        }
        let index = keys.index(&queue, StateKind::Running);
        assert_eq!(index, format!("{}mail:running", keys.indexes()));
    }

    #[test]
    fn a_job_named_cancels_has_a_channel_of_its_own() {
        let keys = Keys::new(&Namespace::standard());
        assert_ne!(keys.job("cancels"), keys.cancels());
    }
}
