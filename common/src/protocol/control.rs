//! What people do to jobs: cancel them, and send them round again.

use super::{Protocol, ProtocolError};
use crate::{
    faults,
    job::{Envelope, JobId, Reason, State, StateKind},
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

    /// Sends a dead or cancelled job round again, with fresh attempts.
    ///
    /// The message goes first, and carries the redrive by itself: a crash before the record is
    /// changed leaves a job that runs, not one that only says so.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn redrive(&self, id: &JobId) -> Result<RedriveOutcome, ProtocolError> {
        let Some(record) = self.backend.store.find(id).await? else {
            return Ok(RedriveOutcome::NotFound);
        };
        if matches!(
            record.life.state,
            State::Dead {
                reason: Reason::Malformed,
                ..
            }
        ) && record.raw.is_some()
        {
            return Ok(RedriveOutcome::Unreadable);
        }
        let Ok(step) = record.life.redrive() else {
            return Ok(RedriveOutcome::NotEnded(record.life.state.kind()));
        };
        let mut envelope = Envelope::first(record.spec.clone(), None);
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
        self.publish(id, Publication { message, route }).await?;
        // A crash here leaves a message that carries the redrive to a job that is still dead.
        faults::point("redrive.published");
        // Superseded: a worker was quicker, and has done it.
        self.backend
            .store
            .apply(Self::change(&record, step))
            .await?;
        Ok(RedriveOutcome::Queued)
    }
}
