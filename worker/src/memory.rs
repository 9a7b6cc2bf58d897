//! What a handler remembers across attempts: a checkpoint, and the results of steps.

use std::{future::Future, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use haul_common::{
    job::{CHECKPOINT_BYTES_MAX, Failure, Json, Script, ScriptName, ScriptVersion, json},
    ports::{Kept, Save, SaveKey, Saved, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Context, context::Core, io};

/// Something that could not be remembered, or not be recalled.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Another worker has the job.
    #[error("this attempt lost its job: another worker has it, so nothing it saves counts")]
    Lost,
    /// Too much.
    #[error(
        "{what} is {size} bytes, the limit is {CHECKPOINT_BYTES_MAX}; save a reference to where it is"
    )]
    TooLarge {
        /// The checkpoint, or which step.
        what: String,
        /// Its size.
        size: usize,
    },
    /// Not JSON, or JSON of another shape.
    #[error("{what} cannot be read or written: {source}")]
    Shape {
        /// The checkpoint, or which step.
        what: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The worker is gone.
    #[error("the worker has stopped")]
    Stopped,
}

impl<S: Send + Sync + 'static> Context<S> {
    /// The checkpoint that this or an earlier attempt saved last.
    ///
    /// # Errors
    /// When the store is away, or the checkpoint is of another type.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, MemoryError> {
        // Not from the cache: this attempt may have saved since.
        let saved = self.core.load().await?;
        saved
            .checkpoint
            .as_deref()
            .map(|raw| read("the checkpoint", raw))
            .transpose()
    }

    /// Saves the checkpoint, at most 64 KiB of JSON, in place of the last one.
    ///
    /// # Errors
    /// [`MemoryError::Lost`] when another worker has the job; too large; or the store is away.
    pub async fn save_checkpoint<T: Serialize + Sync>(&self, value: &T) -> Result<(), MemoryError> {
        self.core
            .save("the checkpoint", SaveKey::Checkpoint, value)
            .await
    }

    /// Runs `work` once and remembers its result: a later attempt gets the result without running
    /// it again. After a crash between the work and the remembering it does run again; pass
    /// [`Context::idempotency_key`] to what must not happen twice.
    ///
    /// # Errors
    /// The failure of `work`; fatal when its result is over 64 KiB.
    pub async fn step<T, E, W, F>(&self, name: &str, work: W) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Sync,
        E: Into<Failure>,
        W: FnOnce() -> F,
        F: Future<Output = Result<T, E>>,
    {
        let what = format!("step `{name}`");
        let saved = self.core.saved.get_or_try_init(|| self.core.load()).await?;
        if let Some(raw) = saved.steps.get(name) {
            return Ok(read(&what, raw)?);
        }
        let result = work().await.map_err(Into::into)?;
        match self
            .core
            .save(&what, SaveKey::Step(name.to_owned()), &result)
            .await
        {
            Ok(()) => Ok(result),
            Err(error @ MemoryError::TooLarge { .. }) => Err(Failure::fatal(error)),
            Err(error) => Err(error.into()),
        }
    }
}

fn read<T: DeserializeOwned>(
    what: &str,
    raw: &serde_json::value::RawValue,
) -> Result<T, MemoryError> {
    let shape = |source| MemoryError::Shape {
        what: what.to_owned(),
        source,
    };
    serde_json::from_str(raw.get()).map_err(shape)
}

impl Core {
    /// A script that is stored.
    pub(crate) async fn script(
        &self,
        name: &ScriptName,
        version: Option<&ScriptVersion>,
    ) -> Result<Option<Script>, MemoryError> {
        let store = self.protocol.backend().store.clone();
        let (name, version) = (name.clone(), version.cloned());
        let load = async move {
            let once = || store.script(&name, version.as_ref());
            once.retry(briefly()).when(StoreError::is_retryable).await
        };
        Ok(io::on(&self.io, load).await.ok_or(MemoryError::Stopped)??)
    }

    async fn load(&self) -> Result<Saved, MemoryError> {
        let (store, id) = (
            self.protocol.backend().store.clone(),
            self.spec().id.clone(),
        );
        let load = async move {
            let once = || store.saved(&id);
            once.retry(briefly()).when(StoreError::is_retryable).await
        };
        Ok(io::on(&self.io, load).await.ok_or(MemoryError::Stopped)??)
    }

    pub(crate) async fn save<T: Serialize>(
        &self,
        what: &str,
        key: SaveKey,
        value: &T,
    ) -> Result<(), MemoryError> {
        let shape = |source| MemoryError::Shape {
            what: what.to_owned(),
            source,
        };
        let value: Json = json(value).map_err(shape)?;
        let size = value.get().len();
        if size > CHECKPOINT_BYTES_MAX {
            return Err(MemoryError::TooLarge {
                what: what.to_owned(),
                size,
            });
        }
        let store = self.protocol.backend().store.clone();
        let (id, fence) = (self.spec().id.clone(), self.assignment.life.fence);
        let save = async move {
            let once = || {
                store.save(Save {
                    id: id.clone(),
                    fence,
                    key: key.clone(),
                    value: value.clone(),
                })
            };
            once.retry(briefly()).when(StoreError::is_retryable).await
        };
        match io::on(&self.io, save).await.ok_or(MemoryError::Stopped)?? {
            Kept::Done => Ok(()),
            Kept::Lost => Err(MemoryError::Lost),
            Kept::Missing => {
                tracing::warn!(job = %self.spec().id, what, "not saved: the store forgot the job");
                Ok(())
            }
        }
    }
}

/// Outlasts a restart of the store, not an outage: then the attempt fails and is retried.
fn briefly() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(8)
}
