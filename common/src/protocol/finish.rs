//! Finish: record, publish what follows, then let the delivery go.

use std::time::Duration;

use backon::Retryable;

use super::{Assignment, Protocol, ProtocolError, patient, rare};
use crate::{
    faults::{self, Bug},
    job::{Envelope, Record, Spec, State, StateKind},
    life::{Ended, Life, Settle, Step, expires, judge, settle},
    metrics,
    ports::{Applied, Change, Created, Publication, Route, Settlement, StoreError},
    wire,
};

/// What became of the end of an attempt.
#[derive(Debug, Clone)]
pub enum Finished {
    /// It is recorded, and this is the job's life now.
    Recorded(Box<Life>),
    /// It no longer counted: the attempt had lost its job.
    Refused,
}

impl Protocol {
    /// Records how an attempt ended, publishes what follows, and settles its delivery, in this
    /// order: acknowledged first, a crash would lose the job. Waits as long as a backend is away;
    /// dropped meanwhile, the delivery comes again.
    ///
    /// `settlement` is missing once a guard stands in for it.
    ///
    /// # Errors
    /// Never because a backend is away; only when the store can't work as it is.
    pub async fn finish(
        &self,
        assignment: &Assignment,
        ended: Ended,
        log: String,
        settlement: Option<Settlement>,
    ) -> Result<Finished, ProtocolError> {
        let Assignment { spec, life, .. } = assignment;
        let now = self.backend.store.now();
        let jitter = fastrand::f64();
        let Ok(mut step) = judge(life, spec, ended, now, jitter) else {
            return Ok(Self::refused(settlement));
        };
        if let Some(attempt) = &mut step.ended {
            attempt.log = log;
        }
        let written = match self.write(assignment, &step).await {
            Err(error) if error.is_retryable() => {
                rare(self.write_at_last(assignment, &step)).await?
            }
            written => written?,
        };
        // A crash here leaves an end whose message the redelivery publishes.
        faults::point("finish.recorded");
        let Some(life) = written else {
            return Ok(Self::refused(settlement));
        };
        if let Some(reason) = life.state.reason() {
            metrics::dead(&spec.queue, reason);
        }
        self.follow(spec, &life, settlement).await?;
        Ok(Finished::Recorded(Box::new(life)))
    }

    /// The delivery goes back, for the record to decide: whoever took the job away may have crashed
    /// before its message was published, and then this one is the only one.
    fn refused(settlement: Option<Settlement>) -> Finished {
        if let Some(settlement) = settlement {
            settlement.release();
        }
        Finished::Refused
    }

    /// Writes `step`, whatever happened to the record meanwhile, and says where the job is now;
    /// nothing when the attempt no longer counts.
    async fn write(
        &self,
        assignment: &Assignment,
        step: &Step,
    ) -> Result<Option<Life>, StoreError> {
        let spec = &assignment.spec;
        let mut change = Change {
            id: spec.id.clone(),
            step: step.clone(),
            expires: expires(spec, &step.life),
            edit: None,
        };
        loop {
            let stored = match self.backend.store.apply(change.clone()).await? {
                Applied::Done => return Ok(Some(change.step.life)),
                Applied::Superseded(stored) if faults::planted(Bug::NoFenceOnFinish) => {
                    change.step.from = stored.life.version();
                    continue;
                }
                Applied::Superseded(stored) => stored,
                Applied::Missing => {
                    let life = step.life.clone();
                    let mut record = Record::new(spec.clone(), life.clone(), assignment.created);
                    record.attempts.extend(step.ended.clone());
                    match self.backend.store.create(vec![record]).await?.first() {
                        Some(Created::Conflict) => return Ok(None),
                        Some(Created::New) => return Ok(Some(life)),
                        Some(Created::Same(_)) | None => continue,
                    }
                }
            };
            match settle(step, &stored.life) {
                Settle::Written => return Ok(Some(stored.life)),
                Settle::Refused => return Ok(None),
                Settle::Instead(step) => {
                    change.expires = expires(spec, &step.life);
                    if stored.spec.digest() != spec.digest() {
                        // It lost an edit too.
                        change.edit = Self::edit_to(&stored, (*step).clone(), spec).edit;
                    }
                    change.step = *step;
                }
            }
        }
    }

    /// Writes `step` as soon as the store can.
    async fn write_at_last(
        &self,
        assignment: &Assignment,
        step: &Step,
    ) -> Result<Option<Life>, StoreError> {
        (|| self.write(assignment, step))
            .retry(patient().without_max_times())
            .when(StoreError::is_retryable)
            .notify(|error, wait| tell(&assignment.spec, "not recorded yet", error, wait))
            .await
    }

    async fn follow(
        &self,
        spec: &Spec,
        life: &Life,
        mut settlement: Option<Settlement>,
    ) -> Result<(), ProtocolError> {
        let released = life.state.kind() == StateKind::Queued;
        let held = settlement.is_some();
        if faults::planted(Bug::PublishAfterAck) {
            settlement.take().into_iter().for_each(Settlement::ack);
        }
        if faults::planted(Bug::AckBeforeConfirm) {
            let (this, spec, life) = (self.clone(), spec.clone(), life.clone());
            tokio::spawn(async move { this.publish_what_follows(&spec, &life).await });
            settlement.take().into_iter().for_each(Settlement::ack);
            return Ok(());
        }
        let publish = || async {
            if released && !held {
                // The delivery went to a guard, which is far away: a message of its own.
                return self
                    .publish(&spec.id, Self::vehicle(spec, life, Duration::ZERO, false))
                    .await;
            }
            self.publish_what_follows(spec, life).await
        };
        // Most often nothing follows.
        if life.state.kind() != StateKind::Succeeded || spec.reply_to.is_some() {
            let published = publish
                .retry(patient().without_max_times())
                .notify(|error, wait| tell(spec, "not published yet", error, wait));
            rare(published.into_future()).await?;
        }
        // A crash here leaves two messages of one job, or one of a job that has ended.
        faults::point("finish.published");
        match settlement {
            Some(settlement) if released => settlement.release(),
            Some(settlement) => settlement.ack(),
            None => {}
        }
        Ok(())
    }

    /// Publishes what the job's state asks for: its next attempt, its dead letter, its answer.
    /// Published again after a crash; claims drop the copies.
    pub(super) async fn publish_what_follows(
        &self,
        spec: &Spec,
        life: &Life,
    ) -> Result<(), ProtocolError> {
        match &life.state {
            State::Retrying { due } => {
                let delay = due.since(self.backend.store.now());
                self.publish(&spec.id, Self::vehicle(spec, life, delay, true))
                    .await?;
            }
            State::Dead { .. } => {
                self.publish(&spec.id, Self::dead_letter(spec, life))
                    .await?;
            }
            _ => {}
        }
        if let Some(queue) = spec
            .reply_to
            .as_ref()
            .filter(|_| life.state.kind().is_terminal())
        {
            let answer = Publication {
                message: wire::reply(spec, life),
                route: Route::Reply(queue.clone()),
            };
            if let Err(error) = self.publish(&spec.id, answer).await {
                // Whoever asked may be gone, and its queue with it; the record has the result.
                tracing::warn!(job = %spec.id, %queue, %error, "the answer was not taken");
            }
        }
        Ok(())
    }

    /// Lets a guard stand in for the delivery of a long attempt: a delayed copy, confirmed before
    /// the original is acknowledged.
    ///
    /// # Errors
    /// When the broker did not take the guard. The delivery is then still held.
    pub async fn guard(
        &self,
        assignment: &Assignment,
        delay: Duration,
        settlement: &mut Option<Settlement>,
    ) -> Result<(), ProtocolError> {
        let Assignment { spec, life, .. } = assignment;
        let mut envelope = Envelope::first(spec, None);
        envelope.attempt = life.attempt;
        envelope.fence = life.fence;
        envelope.guard = true;
        let (queue, lane) = (spec.queue.clone(), spec.lane);
        let guard = Publication {
            message: wire::encode(&envelope),
            route: Route::Later {
                queue,
                lane,
                delay,
                coarse: true,
            },
        };
        if faults::planted(Bug::GuardAfterAck) {
            settlement.take().into_iter().for_each(Settlement::ack);
        }
        self.publish(&spec.id, guard).await?;
        // A crash here leaves the guard beside the original.
        faults::point("guard.published");
        if let Some(settlement) = settlement.take() {
            settlement.ack();
        }
        Ok(())
    }
}

/// Only what takes longer is worth a warning: a short outage would bring one for each job and try.
fn tell(spec: &Spec, what: &str, error: &impl std::fmt::Display, wait: Duration) {
    if wait >= Duration::from_secs(1) {
        tracing::warn!(job = %spec.id, %error, ?wait, "{what}");
    } else {
        tracing::debug!(job = %spec.id, %error, ?wait, "{what}");
    }
}
