//! A job on its way.

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, time::Duration};

use haul_common::{
    job::{Backoff, BatchId, JobId, Lane, QueueName, Spec, Tag, Task, TaskName, json},
    protocol::{self, Submission},
    time::Timestamp,
};

use crate::{Job, Producer};

/// A job that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// An option, or the task's name, is not what it must be.
    #[error("the job was not submitted: {0}")]
    Option(String),
    /// The arguments cannot be written as JSON.
    #[error("the job was not submitted: its arguments cannot be JSON: {0}")]
    Args(#[from] serde_json::Error),
    /// It was refused, or nobody knows.
    #[error(transparent)]
    Protocol(#[from] protocol::SubmitError),
}

/// A job on its way: set its options, then await it.
#[derive(Debug)]
#[must_use = "a job is submitted when this is awaited"]
pub struct Submit<'p, T> {
    producer: &'p Producer,
    job: Result<Submission, SubmitError>,
    start: Start,
    task: PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum Start {
    AsTheySay,
    After(Duration),
}

impl<'p, T: Task> Submit<'p, T> {
    pub(crate) fn new(producer: &'p Producer, args: &T) -> Self {
        let job = spec(args).map(|spec| Submission {
            spec,
            due: None,
            chosen_id: false,
        });
        Self {
            producer,
            job,
            start: Start::AsTheySay,
            task: PhantomData,
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Submission)) -> Self {
        if let Ok(job) = &mut self.job {
            change(job);
        }
        self
    }

    fn try_set<V, E: fmt::Display>(
        mut self,
        value: Result<V, E>,
        change: impl FnOnce(&mut Submission, V),
    ) -> Self {
        match value {
            Ok(value) => self.set(|job| change(job, value)),
            Err(error) => {
                if self.job.is_ok() {
                    self.job = Err(SubmitError::Option(error.to_string()));
                }
                self
            }
        }
    }

    /// Into this queue instead of the task's own.
    pub fn queue<Q: TryInto<QueueName, Error: fmt::Display>>(self, queue: Q) -> Self {
        self.try_set(queue.try_into(), |job, queue| job.spec.queue = queue)
    }

    /// Into this lane instead of the normal one.
    pub fn lane(self, lane: Lane) -> Self {
        self.set(|job| job.spec.lane = lane)
    }

    /// Starts after this delay, or as soon as it can after that.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Start::After(delay);
        self
    }

    /// Starts at this time, or as soon as it can after that.
    pub fn at(mut self, due: Timestamp) -> Self {
        self.start = Start::AsTheySay;
        self.set(|job| job.due = Some(due))
    }

    /// Gets this many attempts in all, instead of 5.
    pub fn attempts(self, attempts: u32) -> Self {
        self.set(|job| job.spec.max_attempts = attempts)
    }

    /// Waits like this between attempts, instead of 1 s, doubled up to 1 h, with full jitter.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|job| job.spec.backoff = backoff)
    }

    /// Lets an attempt take this long, instead of as long as it likes.
    pub fn timeout(self, limit: Duration) -> Self {
        self.set(|job| job.spec.timeout = Some(limit))
    }

    /// Gives the job up at this time, whatever attempts are left.
    pub fn deadline(self, deadline: Timestamp) -> Self {
        self.set(|job| job.spec.deadline = Some(deadline))
    }

    /// Keeps its record this long once it ended, instead of 24 h (7 d when dead).
    pub fn retention(self, retention: Duration) -> Self {
        self.set(|job| job.spec.retention = Some(retention))
    }

    /// Adds a word to find it by.
    pub fn tag<V: TryInto<Tag, Error: fmt::Display>>(self, tag: V) -> Self {
        self.try_set(tag.try_into(), |job, tag| job.spec.tags.push(tag))
    }

    /// Makes it part of a batch.
    pub fn batch(self, batch: BatchId) -> Self {
        self.set(|job| job.spec.batch = Some(batch))
    }

    /// Gives it this id. Submitted again, it is the same job; with other arguments it is refused.
    pub fn id<I: TryInto<JobId, Error: fmt::Display>>(self, id: I) -> Self {
        self.try_set(id.try_into(), |job, id| {
            job.spec.id = id;
            job.chosen_id = true;
        })
    }

    pub(crate) fn build(self) -> Result<Submission, SubmitError> {
        let mut job = self.job?;
        if let Start::After(delay) = self.start {
            job.due = Some(self.producer.backend().store.now() + delay);
        }
        Ok(job)
    }
}

fn spec<T: Task>(args: &T) -> Result<Spec, SubmitError> {
    let wrong = |error: haul_common::job::NameError| SubmitError::Option(error.to_string());
    let task: TaskName = T::NAME.parse().map_err(wrong)?;
    let queue: QueueName = T::QUEUE.parse().map_err(wrong)?;
    Ok(Spec::new(task, queue, json(args)?))
}

impl<'p, T: Task> IntoFuture for Submit<'p, T> {
    type Output = Result<Job<T>, SubmitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'p>>;

    fn into_future(self) -> Self::IntoFuture {
        let producer = self.producer;
        let built = self.build();
        Box::pin(async move {
            let answer = producer.submit_all(vec![built?]).await.pop();
            let lost = || SubmitError::Option("no answer came for it".to_owned());
            Ok(Job::new(producer.clone(), answer.ok_or_else(lost)??))
        })
    }
}
