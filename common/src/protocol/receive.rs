//! Receive: from a delivery to an attempt, or to the delivery's end.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;

use super::{Protocol, ProtocolError, rare};
use crate::{
    faults::{self, Bug},
    job::{Envelope, JobId, Record, Spec, State, StateKind, WorkerId},
    life::{Arrival, Life, Owner, Step, arrive, is_of_the_claim},
    metrics,
    ports::{Applied, Claim, Claimed, Delivery, Publication, Route, Verdict},
    time::Timestamp,
    wire,
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
    /// When this attempt was to start.
    pub due: Timestamp,
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

/// So often a message that came back is kept, for its worker may have died a moment ago; then, if it
/// seems alive still, it keeps the job. Fewer than [`LOOKS_MAX`].
const DOUBTS: usize = 6;

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
            return rare(self.name(delivery)).await;
        }
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        match wire::decode(&delivery.message, (queue, lane), self.backend.store.now()) {
            Err(error) => rare(self.bury_malformed(delivery, &error, false)).await,
            Ok(envelope) => {
                let doubts = if delivery.returned > 0 { DOUBTS } else { 0 };
                self.start(envelope, doubts, worker, &runs_here).await
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
        // Published again, it would come without what AMQP or we cannot carry, and look sound.
        if let Err(error) = wire::decode(&message, (&queue, lane), self.backend.store.now()) {
            return self.bury_malformed(delivery, &error, false).await;
        }
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
        mut doubts: usize,
        worker: &WorkerId,
        runs_here: &impl Fn(&JobId) -> bool,
    ) -> Result<Receipt, ProtocolError> {
        let mut claim = Claim {
            id: envelope.spec.id.clone(),
            attempt: envelope.attempt,
            digest: envelope.spec.digest(),
            worker: worker.clone(),
            record: self
                .outruns
                .load(Ordering::Relaxed)
                .then(|| self.recreated(&envelope).into()),
        };
        for _ in 0..LOOKS_MAX {
            let record = match self.backend.store.claim(claim.clone()).await? {
                Claimed::Granted(grant) => {
                    // A crash here leaves a running job whose worker is gone.
                    faults::point("claim.granted");
                    let (life, created) = (grant.life, grant.created);
                    let written = claim.record.is_some_and(|record| record.created == created);
                    self.outruns.store(written, Ordering::Relaxed);
                    let due = envelope.due.unwrap_or(created).max(created);
                    let spec = envelope.spec;
                    return Ok(Receipt::Run(Box::new(Assignment {
                        spec,
                        life,
                        created,
                        due,
                    })));
                }
                Claimed::Missing => {
                    // A worker can be quicker than the submitter's record; or the store lost it.
                    claim.record = Some(self.recreated(&envelope).into());
                    continue;
                }
                Claimed::Held(record) => record,
            };
            let dropped = doubts > 0 && is_of_the_claim(&envelope, &record.life);
            let owner = self.owner(&record, dropped, worker, runs_here).await?;
            let arrival = arrive(&record, &envelope, owner, self.backend.store.now());
            match planted(&record, arrival) {
                Arrival::Claim => claim.attempt = record.life.attempt,
                Arrival::Apply(mut step) => {
                    if let Some(lost) = &mut step.ended {
                        lost.log.clone_from(&record.log);
                    }
                    claim.attempt = step.life.attempt;
                    let applied = self
                        .backend
                        .store
                        .apply(Self::change(&record, *step.clone()));
                    // Where somebody was quicker, the next look tells.
                    if let Applied::Done = applied.await? {
                        Self::count(&record.spec, &step);
                    }
                }
                Arrival::Edit(step) => {
                    claim.attempt = step.life.attempt;
                    let change = Self::edit_to(&record, *step, &envelope.spec);
                    self.backend.store.apply(change).await?;
                }
                Arrival::Ended => return rare(self.drop_ended(&record, &envelope)).await,
                Arrival::PutOff(delay) => return rare(self.put_off(&record, delay)).await,
                Arrival::Keep(moment) => {
                    tracing::debug!(job = %record.spec.id, "its worker may just have died");
                    rare(sleep(moment)).await;
                    doubts -= 1;
                }
                Arrival::Conflict => return rare(self.bury_conflict(envelope)).await,
            }
        }
        rare(self.put_off(&self.recreated(&envelope), Duration::from_secs(1))).await
    }

    pub(super) fn recreated(&self, envelope: &Envelope) -> Record {
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
    async fn drop_ended(
        &self,
        record: &Record,
        envelope: &Envelope,
    ) -> Result<Receipt, ProtocolError> {
        // A guard, and the message of a job that was cancelled meanwhile, are no copies.
        if !envelope.guard && record.life.state.kind() != StateKind::Cancelled {
            metrics::deduplicated(&record.spec.queue);
        }
        self.publish_what_follows(&record.spec, &record.life)
            .await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    async fn put_off(&self, record: &Record, delay: Duration) -> Result<Receipt, ProtocolError> {
        tracing::debug!(job = %record.spec.id, ?delay, "put off");
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
}

/// What an arrival means with a bug planted.
fn planted(record: &Record, arrival: Arrival) -> Arrival {
    let bug = match (&arrival, record.life.state.kind()) {
        (Arrival::PutOff(_) | Arrival::Keep(_), StateKind::Running) => Bug::CopyDropped,
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
