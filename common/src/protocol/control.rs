//! What people do to jobs: cancel them, mend their arguments, and send them round again.

use super::{Protocol, ProtocolError};
use crate::{
    faults,
    job::{Envelope, JobId, Json, Reason, Record, SpecError, StateKind},
    ports::{Applied, Publication, Route},
    wire,
};

/// What a wish to cancel led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The job had not started, and never will.
    Cancelled,
    /// The job runs; its handler is told to stop.
    Requested,
    /// The job had already ended like this.
    Ended(StateKind),
    /// No such job is known.
    NotFound,
}

/// What a wish to retry led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveOutcome {
    /// The job is queued again, with fresh attempts.
    Queued,
    /// Only dead and cancelled jobs are sent round again; this one is in another state.
    NotEnded(StateKind),
    /// Its message could not be read, so that there is nothing to send.
    Unreadable,
    /// No such job is known.
    NotFound,
}

/// What a wish to edit led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditOutcome {
    /// It has these arguments now, and what its attempts saved is forgotten.
    Edited,
    /// It had these arguments already.
    Unchanged,
    /// Only dead and cancelled jobs are edited; this one is in another state. The message of one
    /// that waits is with the broker, and carries the arguments it was sent with.
    NotEnded(StateKind),
    /// Its message could not be read, so that nobody knows what else it says.
    Unreadable,
    /// The arguments break a limit.
    Invalid(SpecError),
    /// No such job is known.
    NotFound,
}

impl Protocol {
    /// Cancels a job: at once if it waits; else its handler is told.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn cancel(&self, id: &JobId) -> Result<CancelOutcome, ProtocolError> {
        loop {
            let Some(record) = self.backend.store.find(id).await? else {
                return Ok(CancelOutcome::NotFound);
            };
            let kind = record.life.state.kind();
            let (step, outcome) = match record.life.request_cancel() {
                Ok(step) => (step, CancelOutcome::Requested),
                Err(_) => match record.life.cancel(self.backend.store.now()) {
                    Ok(step) => (step, CancelOutcome::Cancelled),
                    Err(_) => return Ok(CancelOutcome::Ended(kind)),
                },
            };
            match self
                .backend
                .store
                .apply(Self::change(&record, step))
                .await?
            {
                Applied::Done => return Ok(outcome),
                Applied::Missing => return Ok(CancelOutcome::NotFound),
                // It moved on meanwhile, which it can do only so often.
                Applied::Superseded(_) => {}
            }
        }
    }

    /// Cancels a job only if it waits, and says whether it did: one that runs goes on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn withdraw(&self, id: &JobId) -> Result<bool, ProtocolError> {
        loop {
            let Some(record) = self.backend.store.find(id).await? else {
                return Ok(false);
            };
            if record.life.state.kind() == StateKind::Running {
                return Ok(false);
            }
            let Ok(step) = record.life.cancel(self.backend.store.now()) else {
                return Ok(false);
            };
            let change = Self::change(&record, step);
            if let Applied::Done = self.backend.store.apply(change).await? {
                return Ok(true);
            }
        }
    }

    /// Gives a dead or cancelled job other arguments, for [`Protocol::redrive`] to send.
    ///
    /// The record alone changes: such a job has no message that counts. Old ones that still come
    /// are known by the digest they were sent with, and by an older fence.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn edit(&self, id: &JobId, args: &Json) -> Result<EditOutcome, ProtocolError> {
        loop {
            let Some(record) = self.backend.store.find(id).await? else {
                return Ok(EditOutcome::NotFound);
            };
            if is_unreadable(&record) {
                return Ok(EditOutcome::Unreadable);
            }
            let Ok(step) = record.life.edit() else {
                return Ok(EditOutcome::NotEnded(record.life.state.kind()));
            };
            let spec = match record.spec.edited(args.clone()) {
                Ok(spec) if spec.digest() == record.spec.digest() => {
                    return Ok(EditOutcome::Unchanged);
                }
                Ok(spec) => spec,
                Err(error) => return Ok(EditOutcome::Invalid(error)),
            };
            let change = Self::edit_to(&record, step, &spec);
            match self.backend.store.apply(change).await? {
                Applied::Done => return Ok(EditOutcome::Edited),
                Applied::Missing => return Ok(EditOutcome::NotFound),
                // Sent round again meanwhile, or edited by somebody else.
                Applied::Superseded(_) => {}
            }
        }
    }

    /// Sends a dead or cancelled job round again, with fresh attempts.
    ///
    /// The message goes first, and carries the redrive by itself: a crash before the record is
    /// changed leaves a job that runs, not one that only says so.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn redrive(&self, id: &JobId) -> Result<RedriveOutcome, ProtocolError> {
        loop {
            let Some(record) = self.backend.store.find(id).await? else {
                return Ok(RedriveOutcome::NotFound);
            };
            if is_unreadable(&record) {
                return Ok(RedriveOutcome::Unreadable);
            }
            let Ok(step) = record.life.redrive() else {
                return Ok(RedriveOutcome::NotEnded(record.life.state.kind()));
            };
            self.publish_redrive(&record).await?;
            // A crash here leaves a message that carries the redrive to a job that is still dead.
            faults::point("redrive.published");
            let change = Self::change(&record, step);
            match self.backend.store.apply(change).await? {
                // Edited meanwhile: that message will be dropped.
                Applied::Superseded(now) if now.spec.digest() != record.spec.digest() => {}
                // Superseded otherwise: a worker was quicker, and has done it.
                _ => return Ok(RedriveOutcome::Queued),
            }
        }
    }

    async fn publish_redrive(&self, record: &Record) -> Result<(), ProtocolError> {
        let id = &record.spec.id;
        let mut envelope = Envelope::first(&record.spec, None);
        envelope.fence = record.life.fence;
        envelope.redrive = true;
        let route = Route::Lane(record.spec.queue.clone(), record.spec.lane);
        let message = wire::encode(&envelope);
        self.backend
            .broker
            .declare(std::slice::from_ref(&record.spec.queue))
            .await
            .map_err(|error| ProtocolError::NotPublished {
                id: id.clone(),
                why: error.to_string(),
            })?;
        self.publish(id, Publication { message, route }).await
    }
}

fn is_unreadable(record: &Record) -> bool {
    record.raw.is_some() && record.life.state.reason() == Some(Reason::Malformed)
}
