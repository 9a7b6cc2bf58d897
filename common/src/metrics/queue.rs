//! What a worker counts of one queue.

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use prometheus::{Gauge, Histogram, IntCounter};

use super::{
    FailureReason, ON, Outcome, families,
    names::{OTHER, QUEUES, TASKS},
};
use crate::job::{QueueName, Reason};

/// Handles for one queue of a worker.
#[derive(Debug)]
pub struct QueueMeters {
    /// From due to first start.
    pub wait: Histogram,
    /// From due, or submitted, to success.
    pub end_to_end: Histogram,
    /// Handlers that run.
    pub running: Gauge,
    /// The age of the attempt that has run longest.
    pub longest: Gauge,
    /// Messages that came again.
    pub redelivered: IntCounter,
    /// Attempts whose end did not count.
    pub leases_lost: IntCounter,
    queue: String,
    /// Made when the first of its jobs comes: most workers could run more tasks than they do.
    tasks: BTreeMap<&'static str, OnceLock<TaskMeters>>,
    other: OnceLock<TaskMeters>,
}

impl QueueMeters {
    /// For a queue with so many slots, whose worker has handlers for these tasks.
    pub fn new(queue: &QueueName, slots: u32, tasks: impl Iterator<Item = &'static str>) -> Self {
        let of = families::get();
        let label = [QUEUES.learn(queue)];
        of.slots.with_label_values(&label).set(slots.into());
        // There from the start, so that the first one is seen as a change.
        of.deduplicated.with_label_values(&label);
        for reason in Reason::ALL {
            of.dead.with_label_values(&[label[0], reason.as_str()]);
        }
        // By now: what others lose may be counted before the first one runs here.
        let learnt = tasks.inspect(|task| {
            TASKS.learn(task);
        });
        let known = learnt.map(|task| (task, OnceLock::new())).collect();
        Self {
            wait: of.wait.with_label_values(&label),
            end_to_end: of.end_to_end.with_label_values(&label),
            running: of.running.with_label_values(&label),
            longest: of.longest.with_label_values(&label),
            redelivered: of.redelivered.with_label_values(&label),
            leases_lost: of.leases_lost.with_label_values(&label),
            queue: label[0].to_owned(),
            tasks: known,
            other: OnceLock::new(),
        }
    }

    /// Handles for a task; those of `other` for one that the worker has no handler for.
    pub fn task(&self, task: &str) -> &TaskMeters {
        let named = ON.then(|| self.tasks.get_key_value(task)).flatten();
        match named {
            Some((name, meters)) => {
                meters.get_or_init(|| TaskMeters::new(&self.queue, TASKS.learn(name)))
            }
            None => self
                .other
                .get_or_init(|| TaskMeters::new(&self.queue, OTHER)),
        }
    }
}

/// Handles for one task of one queue.
#[derive(Debug)]
pub struct TaskMeters {
    started: IntCounter,
    finished: Vec<IntCounter>,
    failures: Vec<IntCounter>,
    duration: Histogram,
}

impl TaskMeters {
    fn new(queue: &str, task: &str) -> Self {
        let of = families::get();
        let finished = |outcome: &Outcome| {
            let labels = [queue, task, outcome.as_str()];
            of.finished.with_label_values(&labels)
        };
        let failed = |reason: &FailureReason| {
            let labels = [task, reason.as_str()];
            of.failures.with_label_values(&labels)
        };
        Self {
            started: of.started.with_label_values(&[queue, task]),
            finished: Outcome::ALL.iter().map(finished).collect(),
            failures: FailureReason::ALL.iter().map(failed).collect(),
            duration: of.duration.with_label_values(&[queue, task]),
        }
    }

    /// An attempt began.
    pub fn started(&self) {
        self.started.inc();
    }

    /// Its handler ended after so long, and failed for this reason, if it did.
    pub fn ran(&self, took: Duration, failed: Option<FailureReason>) {
        self.duration.observe(took.as_secs_f64());
        if let Some(reason) = failed {
            self.failures[reason as usize].inc();
        }
    }

    /// Its end is written.
    pub fn finished(&self, outcome: Outcome) {
        self.finished[outcome as usize].inc();
    }
}
