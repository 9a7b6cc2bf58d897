//! What is counted of an attempt.

use std::time::Instant;

use haul_common::{
    life::Ended,
    metrics::{self, FailureReason, Outcome, QueueMeters, TaskMeters, is_free},
    protocol::{Assignment, Finished, ProtocolError},
    time::Timestamp,
};

/// An attempt that runs; counted as running until it is [`Meter::over`], or dropped.
pub(super) struct Meter<'m> {
    queue: &'m QueueMeters,
    task: &'m TaskMeters,
    /// Nothing where nothing is counted.
    began: Option<Instant>,
    runs: bool,
    free: bool,
}

impl<'m> Meter<'m> {
    pub(super) fn begin(queue: &'m QueueMeters, assignment: &Assignment) -> Self {
        let Assignment {
            spec, life, due, ..
        } = assignment;
        let task = queue.task(&spec.task);
        if metrics::ON {
            task.started();
            queue.running.inc();
            if let (1, Some(started)) = (life.starts, life.started) {
                queue.wait.observe(started.since(*due).as_secs_f64());
            }
        }
        Self {
            queue,
            task,
            began: metrics::ON.then(Instant::now),
            runs: metrics::ON,
            free: false,
        }
    }

    /// Its handler has ended; nothing when it lost its job.
    pub(super) fn over(&mut self, ended: Option<&Ended>) {
        let Some(began) = self.began else { return };
        self.stop();
        self.free = ended.is_some_and(is_free);
        let failed = ended.and_then(FailureReason::of);
        self.task.ran(began.elapsed(), failed);
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.runs) {
            self.queue.running.dec();
        }
    }

    /// Another worker had the job all the while.
    pub(super) fn lost(&self) {
        self.queue.leases_lost.inc();
        self.task.finished(Outcome::Lost);
    }

    /// What became of its end.
    pub(super) fn finished(
        &self,
        assignment: &Assignment,
        finished: &Result<Finished, ProtocolError>,
        now: Timestamp,
    ) {
        if self.began.is_none() {
            return;
        }
        let Ok(Finished::Recorded(life)) = finished else {
            return self.lost();
        };
        let outcome = Outcome::of(life.state.kind(), self.free);
        self.task.finished(outcome);
        if outcome == Outcome::Succeeded {
            // Of a later attempt, nobody remembers when the first one was due.
            let from = if assignment.life.attempt == 1 {
                assignment.due
            } else {
                assignment.created
            };
            self.queue.end_to_end.observe(now.since(from).as_secs_f64());
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}
