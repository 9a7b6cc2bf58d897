//! The port to what is known about the work.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    BatchCounts, BatchListing, Beat, Finding, Listing, PageRequest, Pause, Pauses, Pulse,
    QueueCounts, Topic, Watch, WorkerInfo, error::StoreError,
};
use crate::{
    filter::Filter,
    job::{
        BatchId, Digest, Fence, JobId, Json, Progress, QueueName, Record, Script, ScriptName,
        ScriptVersion, Spec, StateKind, WorkerId,
    },
    life::{Life, Step},
    time::Timestamp,
};

/// What is known about the work. Knows nothing of the rules: transitions come ready made, and are
/// applied only if the job is still where they were made from.
///
/// Calls that are made at the same time share a round trip or a commit. Every call has a deadline
/// inside. A call that fails may still have been carried out; all are safe to make again.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Writes each record unless one with its id exists.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn create(&self, records: Vec<Record>) -> Result<Vec<Created>, StoreError>;

    /// The common way into an attempt, in one step: if the job is claimable, due, at this attempt,
    /// and of this digest, it runs now. Anything else is answered with the record, for the rules
    /// to decide.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError>;

    /// Compare-and-set: applies the step if the job is still at the version it was made from.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn apply(&self, change: Change) -> Result<Applied, StoreError>;

    /// Replaces progress and log of the running attempt, if `fence` is still its fence.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn note(&self, note: Note) -> Result<Kept, StoreError>;

    /// Keeps a checkpoint or a step's result, if `fence` is still the running attempt's.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn save(&self, save: Save) -> Result<Kept, StoreError>;

    /// What earlier attempts and this one saved.
    ///
    /// # Errors
    /// When the store is away.
    async fn saved(&self, id: &JobId) -> Result<Saved, StoreError>;

    /// Keeps a script: from now on its name means this text. Earlier versions stay, up to
    /// [`crate::job::SCRIPT_VERSIONS_KEPT`] in all.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn keep_script(&self, script: Script) -> Result<(), StoreError>;

    /// The script of this name, in this version or as the name is meant now.
    ///
    /// # Errors
    /// When the store is away.
    async fn script(
        &self,
        name: &ScriptName,
        version: Option<&ScriptVersion>,
    ) -> Result<Option<Script>, StoreError>;

    /// All scripts as their names are meant now, by name.
    ///
    /// # Errors
    /// When the store is away.
    async fn scripts(&self) -> Result<Vec<Script>, StoreError>;

    /// Forgets a script in all its versions; whether there was one.
    ///
    /// # Errors
    /// When the store is away.
    async fn forget_script(&self, name: &ScriptName) -> Result<bool, StoreError>;

    /// One heartbeat for a whole worker: it is alive, and these attempts are its own.
    ///
    /// # Errors
    /// When the store is away.
    async fn beat(&self, beat: Beat) -> Result<Pulse, StoreError>;

    /// Keeps a worker alive for `lease` from now, whether or not its process is there, and says
    /// until when. It is no worker that operators see. `renew`: only one whose lease has not ended;
    /// nothing where it has.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn lease(
        &self,
        worker: &WorkerId,
        lease: Duration,
        renew: bool,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// The worker leaves in good order.
    ///
    /// # Errors
    /// When the store is away.
    async fn retire(&self, worker: &WorkerId) -> Result<(), StoreError>;

    /// Whether the worker has beaten within [`crate::ports::WORKER_TTL`], or has a lease. Says yes in doubt:
    /// just after the store came back, live workers have not had the time to say so. May know
    /// sooner that a worker is gone when told that the broker `dropped` it: took a message back.
    ///
    /// # Errors
    /// When the store is away.
    async fn is_alive(&self, worker: &WorkerId, dropped: bool) -> Result<bool, StoreError>;

    /// Workers that beat, for operators.
    ///
    /// # Errors
    /// When the store is away.
    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError>;

    /// How many workers fell silent in the last [`crate::ports::LOST_FOR`], without a goodbye.
    ///
    /// # Errors
    /// When the store is away.
    async fn lost_workers(&self) -> Result<u64, StoreError>;

    /// The whole record.
    ///
    /// # Errors
    /// When the store is away.
    async fn find(&self, id: &JobId) -> Result<Option<Record>, StoreError>;

    /// Records that match, newest first, a page at a time.
    ///
    /// # Errors
    /// When the store is away.
    async fn list(&self, filter: &Filter, page: PageRequest) -> Result<Listing, StoreError>;

    /// How many jobs each queue has in each state.
    ///
    /// # Errors
    /// When the store is away.
    async fn counts(&self) -> Result<Vec<QueueCounts>, StoreError>;

    /// How many jobs of the batch are in each state; nothing where none is known. Costs the same
    /// however many there are.
    ///
    /// # Errors
    /// When the store is away.
    async fn batch(&self, batch: &BatchId) -> Result<Option<BatchCounts>, StoreError>;

    /// Batches with a job that is known, newest first, a page at a time.
    ///
    /// # Errors
    /// When the store is away.
    async fn batches(&self, page: PageRequest) -> Result<BatchListing, StoreError>;

    /// For each queue, since when the job may start that has waited longest of those that have not.
    /// Looks at a few places of each queue, however many jobs wait: what waits for a time of its
    /// own may be missed while much of that was created earlier.
    ///
    /// # Errors
    /// When the store is away.
    async fn oldest(&self, queues: &[QueueName]) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// From now on nothing new of the queue is started; says whether that is a change. One that is
    /// paused already stays as it is. Workers hear of it with their next heartbeat, and
    /// [`Topic::Cancels`] ticks, so that this is at once.
    ///
    /// # Errors
    /// When the store is away or full.
    async fn pause(&self, queue: &QueueName, pause: Pause) -> Result<bool, StoreError>;

    /// The queue goes on; says whether it was paused. Workers hear of it as of a pause.
    ///
    /// # Errors
    /// When the store is away.
    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError>;

    /// The queues that are paused.
    ///
    /// # Errors
    /// When the store is away.
    async fn pauses(&self) -> Result<Pauses, StoreError>;

    /// What it is, in a word.
    fn kind(&self) -> &'static str;

    /// Up to `limit` running jobs that nobody runs: their worker is not alive; or it is `me`, and
    /// `in_hand`, asked after the record was read, says no. Looks at running jobs only.
    ///
    /// # Errors
    /// When the store is away.
    async fn orphans(
        &self,
        me: &WorkerId,
        in_hand: InHand<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Up to `limit` jobs of `queue` that could have started before `before` and still wait. A
    /// store that never loses a part of what it knows finds none: there, each has its message.
    ///
    /// # Errors
    /// When the store is away.
    async fn overdue(
        &self,
        queue: &QueueName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Forgets up to `limit` jobs whose retention is over; says how many.
    ///
    /// # Errors
    /// When the store is away.
    async fn expire(&self, limit: usize) -> Result<usize, StoreError>;

    /// Where the store may have come back with a part of a write: files the next records by what they
    /// say themselves. Says whether there are more; costs nothing where all is in order.
    ///
    /// # Errors
    /// When the store is away.
    async fn refile(&self) -> Result<bool, StoreError>;

    /// Ticks whenever the topic changes. May tick without a change, and merges ticks that come
    /// quickly; nothing that happens after it returns goes unnoticed while the store is there.
    ///
    /// # Errors
    /// When the store is away.
    async fn watch(&self, topic: Topic) -> Result<Watch, StoreError>;

    /// The store's clock, as well as it is known here: the one clock of a fleet.
    fn now(&self) -> Timestamp;

    /// Looks at connection, version and settings, for `haul doctor`.
    async fn check(&self) -> Vec<Finding>;

    /// Waits for what is on its way, then closes.
    async fn close(&self);
}

/// Whether a worker has this job in hand: is about to claim it, runs it, or writes its end.
pub type InHand<'a> = &'a (dyn Fn(&JobId) -> bool + Send + Sync);

/// What became of a record that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// The same job was there, in this state. It is left as it is.
    Same(StateKind),
    /// The id belongs to another job: task or arguments differ.
    Conflict,
}

/// Asks for an attempt.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Of which job.
    pub id: JobId,
    /// Which attempt.
    pub attempt: u32,
    /// Of what content.
    pub digest: Digest,
    /// For whom.
    pub worker: WorkerId,
    /// Written first where there is none.
    pub record: Option<Arc<Record>>,
}

/// Answer to a [`Claim`].
#[derive(Debug, Clone)]
pub enum Claimed {
    /// It runs, and it is ours.
    Granted(Grant),
    /// It is not claimable like this; this is what is known.
    Held(Box<Record>),
    /// Nothing is known of it, and the claim had no record to write.
    Missing,
}

/// What a worker learns when its claim is granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The job's life, running.
    pub life: Life,
    /// When the record was made.
    pub created: Timestamp,
}

/// A transition for one job.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which job.
    pub id: JobId,
    /// What happens to it.
    pub step: Step,
    /// When its record may be forgotten, once the step makes it terminal.
    pub expires: Option<Timestamp>,
    /// The step also changes what is asked for.
    pub edit: Option<Box<Edit>>,
}

/// A change of what is asked for. What attempts saved is forgotten with it: it was of other
/// arguments.
#[derive(Debug, Clone)]
pub struct Edit {
    /// What is asked for from now on. Only its arguments may differ.
    pub spec: Spec,
    /// When the record was made.
    pub created: Timestamp,
}

/// Answer to a [`Change`].
#[derive(Debug, Clone)]
pub enum Applied {
    /// It is written.
    Done,
    /// The job was not there any more; this is where it is.
    Superseded(Box<Record>),
    /// Nothing is known of the job.
    Missing,
}

/// Progress and log of a running attempt.
#[derive(Debug, Clone)]
pub struct Note {
    /// Which job.
    pub id: JobId,
    /// Which attempt.
    pub fence: Fence,
    /// How far it is.
    pub progress: Option<Progress>,
    /// The tail of its log so far.
    pub log: String,
}

/// Something to remember for later attempts.
#[derive(Debug, Clone)]
pub struct Save {
    /// Which job.
    pub id: JobId,
    /// Which attempt saves.
    pub fence: Fence,
    /// Under which key.
    pub key: SaveKey,
    /// What.
    pub value: Json,
}

/// Under what a value is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveKey {
    /// The job's one checkpoint.
    Checkpoint,
    /// The result of a named step.
    Step(String),
}

/// Answer to a [`Note`] or a [`Save`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is written.
    Done,
    /// The attempt is no longer the running one: it lost its job.
    Lost,
    /// Nothing is known of the attempt. The store forgot it; it may go on.
    Missing,
}

/// What attempts saved.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    /// The checkpoint.
    pub checkpoint: Option<Json>,
    /// Results of steps, by name.
    pub steps: BTreeMap<String, Json>,
}
