//! Receive: from a delivery to an attempt, or to the delivery's end.

use std::time::Duration;

use super::{Protocol, ProtocolError};
use crate::{
    faults::{self, Bug},
    job::{Envelope, JobId, Reason, Record, Spec, State, StateKind, WorkerId},
    life::{Arrival, Life, Owner, Step, arrive},
    ports::{Applied, Claim, Claimed, Created, Delivery, Publication, Route, Verdict},
    time::Timestamp,
    wire::{self, Malformed},
};

/// An attempt that is ours to run.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// What is asked for.
    pub spec: Spec,
    /// The job's life, running.
    pub life: Life,
    /// When its record was made.
    pub created: Timestamp,
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Receipt {
    /// An attempt began. The delivery stays unsettled until the attempt is finished.
    Run(Box<Assignment>),
    /// Nothing is left to do but this.
    Settle(Verdict),
}

/// Each look either ends, or follows a change that somebody made; nobody changes a job that often.
const LOOKS_MAX: usize = 16;

/// How long a message waits whose job's record cannot be read: for people to mend it.
const ASIDE: Duration = Duration::from_secs(60);

impl Protocol {
    /// Claims the job that `delivery` is about, for `worker`. `runs_here` tells whether this
    /// process runs the job already.
    ///
    /// # Errors
    /// When a backend is away. Then the delivery is to be kept, and received again.
    pub async fn receive(
        &self,
        delivery: &Delivery,
        worker: &WorkerId,
        runs_here: impl Fn(&JobId) -> bool,
    ) -> Result<Receipt, ProtocolError> {
        if delivery.message.head.message_id.is_none() {
            return self.name(delivery).await;
        }
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        match wire::decode(&delivery.message, (queue, lane), self.backend.store.now()) {
            Err(error) => self.bury_malformed(delivery, &error).await,
            Ok(envelope) => {
                let dropped = delivery.redelivered;
                self.start(envelope, dropped, worker, &runs_here).await
            }
        }
    }

    /// A message without an id gets one, and goes round again, before anything else: else a crash
    /// and the redelivery would make two jobs of it.
    async fn name(&self, delivery: &Delivery) -> Result<Receipt, ProtocolError> {
        let id = JobId::new();
        let mut message = delivery.message.clone();
        message.head.message_id = Some(id.to_string());
        let (queue, lane) = delivery.origin.clone();
        self.publish(
            &id,
            Publication {
                message,
                route: Route::Lane(queue, lane),
            },
        )
        .await?;
        // A crash here makes two jobs of it after all: nothing of a delivery is its own for ever.
        faults::point("receive.named");
        Ok(Receipt::Settle(Verdict::Ack))
    }

    async fn start(
        &self,
        envelope: Envelope,
        dropped: bool,
        worker: &WorkerId,
        runs_here: &impl Fn(&JobId) -> bool,
    ) -> Result<Receipt, ProtocolError> {
        let mut claim = Claim {
            id: envelope.spec.id.clone(),
            attempt: envelope.attempt,
            digest: envelope.spec.digest(),
            worker: worker.clone(),
        };
        for _ in 0..LOOKS_MAX {
            let record = match self.backend.store.claim(claim.clone()).await? {
                Claimed::Granted(grant) => {
                    // A crash here leaves a running job whose worker is gone.
                    faults::point("claim.granted");
                    let (life, created) = (grant.life, grant.created);
                    let spec = envelope.spec;
                    return Ok(Receipt::Run(Box::new(Assignment {
                        spec,
                        life,
                        created,
                    })));
                }
                Claimed::Missing => {
                    // A worker can be quicker than the submitter's record; or the store lost it.
                    self.backend
                        .store
                        .create(vec![self.recreated(&envelope)])
                        .await?;
                    continue;
                }
                Claimed::Held(record) => record,
            };
            let owner = self.owner(&record, dropped, worker, runs_here).await?;
            let arrival = arrive(&record, &envelope, owner, self.backend.store.now());
            match planted(&record, arrival) {
                Arrival::Claim => claim.attempt = record.life.attempt,
                Arrival::Apply(mut step) => {
                    if let Some(lost) = &mut step.ended {
                        lost.log.clone_from(&record.log);
                    }
                    claim.attempt = step.life.attempt;
                    // Whether it was applied or somebody was quicker: the next look tells.
                    self.backend
                        .store
                        .apply(Self::change(&record, *step))
                        .await?;
                }
                Arrival::Ended => return self.drop_ended(&record).await,
                Arrival::PutOff(delay) => return self.put_off(&record, delay).await,
                Arrival::Conflict => return self.bury_conflict(&envelope).await,
            }
        }
        self.put_off(&self.recreated(&envelope), Duration::from_secs(1))
            .await
    }

    fn recreated(&self, envelope: &Envelope) -> Record {
        let now = self.backend.store.now();
        let mut life = match envelope.due {
            Some(due) if due > now => Life::scheduled(due),
            _ => Life::queued(),
        };
        life.attempt = envelope.attempt;
        life.fence = envelope.fence;
        Record::new(envelope.spec.clone(), life, now)
    }

    async fn owner(
        &self,
        record: &Record,
        dropped: bool,
        me: &WorkerId,
        runs_here: &impl Fn(&JobId) -> bool,
    ) -> Result<Owner, ProtocolError> {
        let store = &self.backend.store;
        match record.life.state.worker() {
            Some(owner) if owner == me && !runs_here(&record.spec.id) => Ok(Owner::MeUnaware),
            Some(owner) if owner != me && !store.is_alive(owner, dropped).await? => {
                Ok(Owner::Vanished)
            }
            Some(owner) if owner != me && dropped => Ok(Owner::Dropped),
            _ => Ok(Owner::Alive),
        }
    }

    /// What follows the end may not have been published when the worker crashed.
    async fn drop_ended(&self, record: &Record) -> Result<Receipt, ProtocolError> {
        self.publish_what_follows(&record.spec, &record.life)
            .await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    async fn put_off(&self, record: &Record, delay: Duration) -> Result<Receipt, ProtocolError> {
        let copy = Self::vehicle(&record.spec, &record.life, delay, false);
        self.publish(&record.spec.id, copy).await?;
        // A crash here leaves two messages of one job.
        faults::point("put_off.published");
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Puts a message off as it is, when the record of its job cannot be read: it must not get
    /// lost, and nothing else should wait for it.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn put_aside(&self, delivery: &Delivery) -> Result<Receipt, ProtocolError> {
        let message = delivery.message.clone();
        let id = message.head.message_id.as_deref();
        let id: JobId = id.and_then(|id| id.parse().ok()).unwrap_or_default();
        let (queue, lane) = delivery.origin.clone();
        let route = Route::Later {
            queue,
            lane,
            delay: ASIDE,
            coarse: true,
        };
        self.publish(&id, Publication { message, route }).await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Kept as a dead letter: the record of its id belongs to the other job.
    async fn bury_conflict(&self, envelope: &Envelope) -> Result<Receipt, ProtocolError> {
        let spec = &envelope.spec;
        let error = "another job, with another task or other arguments, has this id".to_owned();
        tracing::warn!(job = %spec.id, "{error}; its message is kept as a dead letter");
        let life = Life::stillborn(Reason::Rejected, error, self.backend.store.now());
        self.publish(&spec.id, Self::dead_letter(spec, &life))
            .await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Keeps what cannot be read as a dead job, with its reason and its bytes.
    async fn bury_malformed(
        &self,
        delivery: &Delivery,
        error: &Malformed,
    ) -> Result<Receipt, ProtocolError> {
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        let spec = wire::salvage(&delivery.message, (queue, lane));
        let now = self.backend.store.now();
        let life = Life::stillborn(Reason::Malformed, error.to_string(), now);
        let mut record = Record::new(spec, life, now);
        let kept = delivery.message.body.len().min(crate::job::BODY_BYTES_MAX);
        record.raw = Some(delivery.message.body[..kept].to_vec());
        if self.backend.store.create(vec![record.clone()]).await? == [Created::Conflict] {
            record.spec.id = JobId::new();
            self.backend.store.create(vec![record.clone()]).await?;
        }
        tracing::warn!(job = %record.spec.id, %queue, %error, "a malformed message is kept as dead");
        let message = wire::dead(delivery.message.clone(), &record.spec, &record.life);
        let letter = Publication {
            message,
            route: Route::Dead(queue.clone()),
        };
        self.publish(&record.spec.id, letter).await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Buries a message that no queue wanted, or that the broker gave up on.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn bury_lost(&self, delivery: &Delivery) -> Result<Verdict, ProtocolError> {
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        let now = self.backend.store.now();
        let envelope = match wire::decode(&delivery.message, (queue, lane), now) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.bury_malformed(delivery, &error).await?;
                return Ok(Verdict::Ack);
            }
        };
        let (reason, error) = match &delivery.given_up {
            Some(why) => (
                Reason::Crashed,
                format!("the broker gave up on its message: {why}"),
            ),
            None => (
                Reason::Rejected,
                format!("no queue `{queue}` was there for it; start a worker for it, then retry"),
            ),
        };
        let record = self.recreated(&envelope);
        self.backend.store.create(vec![record.clone()]).await?;
        let record = self
            .backend
            .store
            .find(&record.spec.id)
            .await?
            .unwrap_or(record);
        // A job that runs needs no message of its own any more.
        let Ok(step) = record.life.give_up(reason, error, now) else {
            // Ended by an earlier try, perhaps, that did not come to publish. Not for what had no
            // queue: its letter has none either, and comes here again.
            if record.life.state.kind().is_terminal() && delivery.given_up.is_some() {
                self.publish_what_follows(&record.spec, &record.life)
                    .await?;
            }
            return Ok(Verdict::Ack);
        };
        let life = step.life.clone();
        let applied = self
            .backend
            .store
            .apply(Self::change(&record, step))
            .await?;
        if matches!(applied, Applied::Done) {
            tracing::warn!(job = %record.spec.id, %queue, %reason, "a lost message is kept as dead");
            self.publish(&record.spec.id, Self::dead_letter(&record.spec, &life))
                .await?;
        }
        Ok(Verdict::Ack)
    }
}

/// What an arrival means with a bug planted.
fn planted(record: &Record, arrival: Arrival) -> Arrival {
    let bug = match (&arrival, record.life.state.kind()) {
        (Arrival::PutOff(_), StateKind::Running) => Bug::CopyDropped,
        (Arrival::Ended, StateKind::Cancelled) => Bug::CancelForgotten,
        (Arrival::Ended, StateKind::Succeeded) => Bug::EndedRunsAgain,
        _ => return arrival,
    };
    if !faults::planted(bug) {
        return arrival;
    }
    if bug == Bug::CopyDropped {
        return Arrival::Ended;
    }
    let mut life = record.life.clone();
    life.state = State::Queued;
    let (from, ended) = (record.life.version(), None);
    Arrival::Apply(Box::new(Step { from, life, ended }))
}
