//! The way in.

use std::{iter::Peekable, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use haul_common::{
    connect::{Backend, ConnectError, Urls},
    filter::Filter,
    job::{BatchId, JobId, Json, QueueName, Record, Task},
    ports::{
        BatchCounts, BatchListing, Listing, PageRequest, Pause, Pauses, QueueCounts, StoreError,
        Topic, Watch, WorkerInfo,
    },
    protocol::{
        CancelOutcome, EditOutcome, Protocol, ProtocolError, RedriveOutcome, Submission, Submitted,
    },
};

use crate::{Job, Submit, SubmitError, WaitError};

/// How many jobs are published, and recorded, together.
const CHUNK: usize = 1000;
/// Fewer if their arguments are longer than this in all: the memory of one chunk serves the next.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// While one chunk is recorded the next is published.
const CHUNKS_AT_ONCE: usize = 3;
/// Looks at a job at least this often while waiting for it, should a tick get lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Submits jobs, follows them and waits for them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Producer {
    protocol: Protocol,
}

impl Producer {
    /// Connects: `"sqlite:haul.db"`, or `("amqp://localhost", "redis://localhost")`.
    ///
    /// # Errors
    /// When a URL is none, or what it names cannot be reached or used.
    pub async fn connect(urls: impl Into<Urls> + Send) -> Result<Self, ConnectError> {
        Backend::connect(urls).await.map(Self::new)
    }

    /// Over a backend that is connected already.
    pub fn new(backend: Backend) -> Self {
        Self {
            protocol: Protocol::new(backend),
        }
    }

    /// The broker and the store.
    pub const fn backend(&self) -> &Backend {
        self.protocol.backend()
    }

    /// A job of these arguments: set options, then await it to submit it.
    pub fn submit<T: Task>(&self, args: T) -> Submit<'_, T> {
        Submit::new(self, &args)
    }

    /// Submits many jobs, pipelined. One answer for each, in order; one that fails does not hold
    /// the others up.
    pub async fn submit_many<'p, T: Task>(
        &'p self,
        jobs: impl IntoIterator<Item = Submit<'p, T>>,
    ) -> Vec<Result<Job<T>, SubmitError>> {
        let (mut ready, mut answers) = (Vec::new(), Vec::new());
        for job in jobs {
            match job.build() {
                Ok(submission) => {
                    ready.push(submission);
                    answers.push(None);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        let mut submitted = self.submit_all(ready).await.into_iter();
        let typed = |one: Submitted| Job::new(self.clone(), one);
        let pick = |early: Option<_>| early.or_else(|| Some(submitted.next()?.map(typed)));
        answers.into_iter().filter_map(pick).collect()
    }

    /// Submits jobs that carry no type, pipelined. One answer for each, in order.
    pub async fn submit_all(&self, jobs: Vec<Submission>) -> Vec<Result<Submitted, SubmitError>> {
        let mut jobs = jobs.into_iter().peekable();
        stream::iter(std::iter::from_fn(|| chunk(&mut jobs)))
            .map(|chunk| self.protocol.submit(chunk))
            .buffered(CHUNKS_AT_ONCE)
            .flat_map(stream::iter)
            .map(|answer| answer.map_err(SubmitError::from))
            .collect()
            .await
    }

    /// A job that was submitted before, by whomever.
    pub fn job<T: Task>(&self, id: JobId) -> Job<T> {
        Job::new(self.clone(), Submitted { id, existing: None })
    }

    /// What is known about a job.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn find(&self, id: &JobId) -> Result<Option<Record>, StoreError> {
        self.backend().store.find(id).await
    }

    /// Jobs that match, newest first, a page at a time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn list(&self, filter: &Filter, page: PageRequest) -> Result<Listing, StoreError> {
        self.backend().store.list(filter, page).await
    }

    /// How many jobs each queue has in each state.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn counts(&self) -> Result<Vec<QueueCounts>, StoreError> {
        self.backend().store.counts().await
    }

    /// Pauses a queue: no worker starts anything new of it, and nobody can pull from it, until
    /// [`Producer::resume`]. What runs goes on to its end, and jobs can be submitted; they wait.
    /// `by` and `reason` are words for whoever looks. Says whether that is a change: a queue that is
    /// paused already stays as it is.
    ///
    /// Workers hear of it at once; one that could not be told, with its next heartbeat, within three
    /// seconds. It holds for workers that start later, across restarts of everything, until Redis
    /// loses all it knows: then no queue is paused.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn pause(
        &self,
        queue: &QueueName,
        by: &str,
        reason: Option<&str>,
    ) -> Result<bool, StoreError> {
        let store = &self.backend().store;
        let pause = Pause {
            since: store.now(),
            by: by.to_owned(),
            reason: reason.map(str::to_owned),
        };
        store.pause(queue, pause).await
    }

    /// Ends a queue's pause, as soon as a pause begins; says whether it was paused.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        self.backend().store.resume(queue).await
    }

    /// The queues that are paused: since when, by whom, what for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn pauses(&self) -> Result<Pauses, StoreError> {
        self.backend().store.pauses().await
    }

    /// How many jobs of a batch are in each state; nothing where none is known. Costs the same
    /// however many there are.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn batch(&self, batch: &BatchId) -> Result<Option<BatchCounts>, StoreError> {
        self.backend().store.batch(batch).await
    }

    /// Batches, newest first, a page at a time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn batches(&self, page: PageRequest) -> Result<BatchListing, StoreError> {
        self.backend().store.batches(page).await
    }

    /// The workers that are alive.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.backend().store.workers().await
    }

    /// Cancels a job: at once if it waits; if it runs, its handler is told to stop.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn cancel(&self, id: &JobId) -> Result<CancelOutcome, ProtocolError> {
        self.protocol.cancel(id).await
    }

    /// Cancels a job only if it waits, and says whether it did: one that runs goes on.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn withdraw(&self, id: &JobId) -> Result<bool, ProtocolError> {
        self.protocol.withdraw(id).await
    }

    /// Gives a dead or cancelled job other arguments; [`Producer::retry`] then sends it.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn edit(&self, id: &JobId, args: &Json) -> Result<EditOutcome, ProtocolError> {
        self.protocol.edit(id, args).await
    }

    /// Sends a dead or cancelled job round again: same id, fresh attempts.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn retry(&self, id: &JobId) -> Result<RedriveOutcome, ProtocolError> {
        self.protocol.redrive(id).await
    }

    /// Waits until the job has ended, however it ended.
    ///
    /// # Errors
    /// [`WaitError::NotYet`] when it has not ended within `limit`; the job goes on, and its id can
    /// be handed out. When no such job is known, or the store is away for the whole time.
    pub async fn wait(&self, id: &JobId, limit: Duration) -> Result<Record, WaitError> {
        let not_yet = || WaitError::NotYet {
            id: id.clone(),
            limit,
        };
        tokio::time::timeout(limit, self.ended(id))
            .await
            .map_err(|_| not_yet())?
    }

    async fn ended(&self, id: &JobId) -> Result<Record, WaitError> {
        let mut watch = self.backend().store.watch(Topic::Job(id.clone())).await?;
        loop {
            match self.find(id).await {
                Ok(Some(record)) if record.life.state.kind().is_terminal() => return Ok(record),
                Ok(Some(_)) => {}
                Ok(None) => return Err(WaitError::NotFound(id.clone())),
                Err(error) if error.is_retryable() => {
                    tracing::debug!(job = %id, %error, "looking again");
                }
                Err(error) => return Err(error.into()),
            }
            tick(&mut watch).await;
        }
    }

    /// The job's record now, and after every change, until it has ended. Changes that come quickly
    /// may be seen as one.
    ///
    /// # Errors
    /// When the store is away at the start; later the stream waits for it.
    pub async fn watch(
        &self,
        id: &JobId,
    ) -> Result<impl Stream<Item = Record> + Send + use<>, StoreError> {
        let watch = self.backend().store.watch(Topic::Job(id.clone())).await?;
        let begin = Some((self.clone(), id.clone(), watch, None::<Record>));
        Ok(stream::unfold(begin, |at| async move {
            let (producer, id, mut watch, mut last) = at?;
            loop {
                if let Some(record) = producer.find(&id).await.ok().flatten()
                    && !last.as_ref().is_some_and(|last| same(last, &record))
                {
                    let ended = record.life.state.kind().is_terminal();
                    last = Some(record.clone());
                    return Some((record, (!ended).then_some((producer, id, watch, last))));
                }
                tick(&mut watch).await;
            }
        }))
    }
}

async fn tick(watch: &mut Watch) {
    // A time-out is as good as a tick.
    let _ = tokio::time::timeout(LOOK_AGAIN, watch.changed()).await;
}

fn same(one: &Record, other: &Record) -> bool {
    one.life.version() == other.life.version()
        && one.life.cancel_requested == other.life.cancel_requested
        && one.progress == other.progress
        && one.log == other.log
}

/// The jobs that go together, at least one; nothing when there are none left.
fn chunk(jobs: &mut Peekable<impl Iterator<Item = Submission>>) -> Option<Vec<Submission>> {
    let size = |job: &Submission| job.spec.args.get().len();
    let first = jobs.next()?;
    let mut bytes = size(&first);
    let mut chunk = vec![first];
    while chunk.len() < CHUNK
        && let Some(job) = jobs.next_if(|job| bytes + size(job) <= CHUNK_BYTES)
    {
        bytes += size(&job);
        chunk.push(job);
    }
    Some(chunk)
}
