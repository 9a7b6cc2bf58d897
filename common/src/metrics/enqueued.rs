//! What a producer counts.

use prometheus::IntCounter;

use super::{
    ON, families,
    names::{QUEUES, TASKS},
};
use crate::job::{QueueName, Spec, TaskName};

/// Counts jobs that were accepted. Most calls submit many of one kind: the handle of the last one
/// is kept.
#[derive(Debug, Default)]
pub struct Enqueued(Option<(QueueName, TaskName, bool, IntCounter)>);

impl Enqueued {
    /// One was accepted.
    pub fn count(&mut self, spec: &Spec, scheduled: bool) {
        if !ON {
            return;
        }
        if let Some((queue, task, later, counter)) = &self.0
            && *queue == spec.queue
            && *task == spec.task
            && *later == scheduled
        {
            return counter.inc();
        }
        let (queue, task) = (QUEUES.learn(&spec.queue), TASKS.learn(&spec.task));
        let when = if scheduled { "true" } else { "false" };
        let counter = families::get()
            .enqueued
            .with_label_values(&[queue, task, when]);
        counter.inc();
        self.0 = Some((spec.queue.clone(), spec.task.clone(), scheduled, counter));
    }
}
