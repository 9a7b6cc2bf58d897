//! A job that was accepted.

use std::{marker::PhantomData, time::Duration};

use futures_util::Stream;
use haul_common::{
    job::{JobId, Reason, Record, State, StateKind, Task},
    ports::StoreError,
    protocol::{CancelOutcome, ProtocolError, RedriveOutcome, Submitted},
};

use crate::Producer;

/// A job that was accepted. Its id is all that is needed to come back to it later.
#[derive(Debug, Clone)]
pub struct Job<T> {
    producer: Producer,
    submitted: Submitted,
    task: PhantomData<fn() -> T>,
}

/// A result that did not come.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The job has not ended yet; it goes on.
    #[error("job {id} has not ended within {limit:?}; it goes on, ask again with its id")]
    NotYet {
        /// Which job.
        id: JobId,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The job is dead.
    #[error("job {id} is dead ({reason}): {error}")]
    Dead {
        /// Which job.
        id: JobId,
        /// Why.
        reason: Reason,
        /// What went wrong last.
        error: String,
    },
    /// The job was cancelled.
    #[error("job {0} was cancelled")]
    Cancelled(JobId),
    /// No such job is known: never submitted here, or forgotten since.
    #[error("no job {0} is known")]
    NotFound(JobId),
    /// Its result is of another type than the task says.
    #[error("the result of job {id} is not what its task returns: {source}")]
    Result {
        /// Which job.
        id: JobId,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<T: Task> Job<T> {
    pub(crate) const fn new(producer: Producer, submitted: Submitted) -> Self {
        Self {
            producer,
            submitted,
            task: PhantomData,
        }
    }

    /// Its id.
    pub const fn id(&self) -> &JobId {
        &self.submitted.id
    }

    /// The state it was in when it was submitted again; nothing when it was new.
    pub const fn existing(&self) -> Option<StateKind> {
        self.submitted.existing
    }

    /// What is known about it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn find(&self) -> Result<Option<Record>, StoreError> {
        self.producer.find(self.id()).await
    }

    /// Its result, as soon as it is there.
    ///
    /// # Errors
    /// [`WaitError::NotYet`] when it has not ended within `limit`: the job goes on, and a server
    /// can hand out its id instead. When it ended dead or cancelled, or the store is away.
    pub async fn wait(&self, limit: Duration) -> Result<T::Output, WaitError> {
        let record = self.producer.wait(self.id(), limit).await?;
        let id = self.id().clone();
        match record.life.state {
            State::Succeeded { result, .. } => serde_json::from_str(result.get())
                .map_err(|source| WaitError::Result { id, source }),
            State::Dead { reason, .. } => {
                let error = record.life.error.unwrap_or_default();
                Err(WaitError::Dead { id, reason, error })
            }
            _ => Err(WaitError::Cancelled(id)),
        }
    }

    /// Its record now, and after every change, until it has ended.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn watch(&self) -> Result<impl Stream<Item = Record> + Send + use<T>, StoreError> {
        self.producer.watch(self.id()).await
    }

    /// Cancels it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn cancel(&self) -> Result<CancelOutcome, ProtocolError> {
        self.producer.cancel(self.id()).await
    }

    /// Sends it round again once it is dead or cancelled.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn retry(&self) -> Result<RedriveOutcome, ProtocolError> {
        self.producer.retry(self.id()).await
    }
}
