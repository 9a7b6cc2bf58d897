//! The store over Redis or Valkey.
//!
//! | file | what it does |
//! |---|---|
//! | [`address`], [`sentinel`], [`pool`] | where the server is, by URL or by Sentinels; connections to it |
//! | [`link`] | deadlines, health, the server's clock |
//! | [`flight`] | group commit: waiting calls share a round trip |
//! | [`scripts`] | one Lua script per kind of write, each with a typed wrapper |
//! | [`keys`], [`record`], [`reply`], [`fault`] | names, shapes, answers, errors |
//! | [`orphans`], [`overdue`], [`refile`] | what heals |
//! | [`list`], [`alive`], [`pauses`], [`watch`], [`check`] | queries, liveness, ticks, the doctor |
//!
//! What must stay true: a write of a job's life happens in `create`, `claim` or `apply` only, each
//! compare-and-set; `note` and `save` ask for the fence. No script knows a rule of the life beyond
//! "waits, and its time has come". Nothing but [`refile`] scans the keyspace, once for each life of a
//! server.

mod address;
mod alive;
mod check;
mod dead;
#[cfg(feature = "faults")]
pub mod door;
mod fault;
mod flight;
mod keys;
mod link;
mod list;
mod oldest;
mod orphans;
mod overdue;
mod pauses;
mod pool;
mod record;
mod refile;
mod reply;
mod scripts;
mod sentinel;
mod watch;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use ::redis::Value;
use async_trait::async_trait;
use futures_util::future::try_join_all;
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    flight::Flights, keys::Keys, link::Link, refile::Refile, reply::Unreadable, watch::Watches,
};
use crate::{
    filter::Filter,
    job::{BatchId, JobId, QueueName, Record, Script, ScriptName, ScriptVersion, WorkerId},
    ports::{
        Applied, BatchCounts, BatchListing, Beat, Change, Claim, Claimed, Created, Finding, InHand,
        Kept, Listing, Note, PageRequest, Pause, Pauses, Pulse, QueueCounts, Save, Saved, Store,
        StoreError, Topic, Watch, WorkerInfo,
    },
    time::Timestamp,
    wire::topology::Namespace,
};

/// What it is, in logs and metrics.
const KIND: &str = "redis";
const CLOSE: Duration = Duration::from_secs(5);
/// Jobs that one call of a script may forget; the server does nothing else meanwhile.
const EXPIRE_AT_ONCE: usize = 200;

/// A store in Redis or Valkey.
pub struct RedisStore {
    keys: Keys,
    link: Arc<Link>,
    flights: Flights,
    watches: Watches,
    refile: Refile,
    /// Channels of workers that beat here, which this process listens to.
    lines: Mutex<HashMap<WorkerId, Watch>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.link.at()).finish()
    }
}

impl RedisStore {
    /// Connects, and looks at settings that decide whether jobs are safe there.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses us, or would evict jobs when it is full.
    pub async fn connect(url: &str, namespace: Namespace) -> Result<Arc<Self>, StoreError> {
        let link = Arc::new(Link::open(url)?);
        check::at_start(&link).await?;
        let keys = Keys::new(&namespace);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let (flights, pilot) = Flights::new(Arc::clone(&link), keys.clone(), closing.clone());
        let (watches, watcher) = Watches::new(Arc::clone(&link), closing.clone());
        for follower in link.sentinels().into_iter().flat_map(|it| it.followers()) {
            let closing = closing.clone();
            tasks.spawn(async move { closing.run_until_cancelled(follower).await });
        }
        tasks.spawn(pilot);
        tasks.spawn(watcher);
        Ok(Arc::new(Self {
            keys,
            link,
            flights,
            watches,
            refile: Refile::new(),
            lines: Mutex::default(),
            tasks,
            closing,
        }))
    }

    /// Listens to the worker's own channel, so that others see when its connections are gone; says
    /// whether it does. Without, they wait until it has not beaten for long enough.
    async fn listen(&self, worker: &WorkerId) -> bool {
        let mut lines = self.lines.lock().await;
        if lines.contains_key(worker) {
            return true;
        }
        match self.watches.watch(self.keys.alive(worker)).await {
            Ok(line) => lines.insert(worker.clone(), Watch(line)).is_none(),
            Err(error) => {
                tracing::debug!(%worker, %error, "the worker's own channel cannot be listened to");
                false
            }
        }
    }

    fn versions(&self, name: &ScriptName, reply: Value) -> Result<Vec<Script>, StoreError> {
        scripts::versions(name, reply)
            .map_err(|why| self.link.corrupt(format!("script {name}: {why}")))
    }

    fn read<T>(&self, id: &JobId, outcome: Result<T, Unreadable>) -> Result<T, StoreError> {
        outcome.map_err(|why| self.link.corrupt(format!("job {id}: {why}")))
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn create(&self, records: Vec<Record>) -> Result<Vec<Created>, StoreError> {
        try_join_all(records.iter().map(async |record| {
            let reply = self.flights.send(scripts::create(record)).await?;
            self.read(&record.spec.id, scripts::created(reply))
        }))
        .await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        let reply = self.flights.send(scripts::claim(&claim)).await?;
        self.read(&claim.id, scripts::claimed(reply))
    }

    async fn apply(&self, change: Change) -> Result<Applied, StoreError> {
        let reply = self
            .flights
            .send(scripts::apply(&self.keys, &change))
            .await?;
        self.read(&change.id, scripts::applied(reply))
    }

    async fn note(&self, note: Note) -> Result<Kept, StoreError> {
        let reply = self.flights.send(scripts::note(&self.keys, &note)).await?;
        self.read(&note.id, scripts::kept(reply))
    }

    async fn save(&self, save: Save) -> Result<Kept, StoreError> {
        let reply = self.flights.send(scripts::save(&self.keys, &save)).await?;
        scripts::kept(reply).map_err(|why| StoreError::Failed {
            at: self.link.at().to_owned(),
            why: format!("job {}: {why}", save.id),
        })
    }

    async fn saved(&self, id: &JobId) -> Result<Saved, StoreError> {
        let reply = self
            .flights
            .send(scripts::hash(&self.keys.saved(id)))
            .await?;
        self.read(id, scripts::saved(reply))
    }

    async fn keep_script(&self, script: Script) -> Result<(), StoreError> {
        let kept = scripts::keep_script(&self.keys, &script);
        self.flights.send(kept).await.map(drop)
    }

    async fn script(
        &self,
        name: &ScriptName,
        version: Option<&ScriptVersion>,
    ) -> Result<Option<Script>, StoreError> {
        let asked = scripts::script_versions(&self.keys, name, version.is_some());
        let versions = self.versions(name, self.flights.send(asked).await?)?;
        let is_meant = |script: &Script| version.is_none_or(|version| script.version == *version);
        Ok(versions.into_iter().find(is_meant))
    }

    async fn scripts(&self) -> Result<Vec<Script>, StoreError> {
        let names = self.flights.send(scripts::script_names(&self.keys)).await?;
        let names = scripts::names_of_scripts(names);
        let mut names = names.map_err(|why| self.link.corrupt(format!("scripts: {why}")))?;
        names.sort_unstable();
        let found = try_join_all(names.iter().map(|name| self.script(name, None))).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn forget_script(&self, name: &ScriptName) -> Result<bool, StoreError> {
        let forgotten = scripts::forget_script(&self.keys, name);
        let gone: Result<u64, _> = reply::number(self.flights.send(forgotten).await?);
        let gone = gone.map_err(|why| self.link.corrupt(format!("script {name}: {why}")))?;
        Ok(gone > 0)
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, StoreError> {
        let listens = self.listen(&beat.worker.id).await;
        alive::beat(&self.link, &self.keys, beat, listens).await
    }

    async fn lease(
        &self,
        worker: &WorkerId,
        lease: Duration,
        renew: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        alive::lease(&self.link, &self.keys, worker, lease, renew).await
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StoreError> {
        self.lines.lock().await.remove(worker);
        alive::retire(&self.link, &self.keys, worker).await
    }

    async fn is_alive(&self, worker: &WorkerId, dropped: bool) -> Result<bool, StoreError> {
        let dead = dead::is_dead(&self.link, &self.keys, worker, dropped).await?;
        Ok(!dead)
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        alive::workers(&self.link, &self.keys).await
    }

    async fn lost_workers(&self) -> Result<u64, StoreError> {
        alive::lost(&self.link, &self.keys).await
    }

    async fn find(&self, id: &JobId) -> Result<Option<Record>, StoreError> {
        let reply = self.flights.send(scripts::hash(&self.keys.job(id))).await?;
        if matches!(&reply, Value::Array(fields) if fields.is_empty()) {
            return Ok(None);
        }
        self.read(id, reply::fields(reply).and_then(record::Fields::read))
            .map(Some)
    }

    async fn list(&self, filter: &Filter, page: PageRequest) -> Result<Listing, StoreError> {
        list::list(&self.link, &self.keys, filter, page).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, StoreError> {
        list::counts(&self.link, &self.keys).await
    }

    async fn batch(&self, batch: &BatchId) -> Result<Option<BatchCounts>, StoreError> {
        let tally = scripts::tally(&self.keys, batch);
        let tallied = scripts::tallied(self.flights.send(tally).await?, batch);
        tallied.map_err(|why| self.link.corrupt(format!("batch {batch}: {why}")))
    }

    async fn batches(&self, page: PageRequest) -> Result<BatchListing, StoreError> {
        let (ids, next) = list::batches(&self.link, &self.keys, page).await?;
        let counts = try_join_all(ids.iter().map(|batch| self.batch(batch))).await?;
        Ok(BatchListing {
            batches: counts.into_iter().flatten().collect(),
            next,
        })
    }

    async fn oldest(&self, queues: &[QueueName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        oldest::oldest(&self.link, &self.keys, queues).await
    }

    async fn pause(&self, queue: &QueueName, pause: Pause) -> Result<bool, StoreError> {
        pauses::pause(&self.link, &self.keys, queue, &pause).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        pauses::resume(&self.link, &self.keys, queue).await
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        pauses::all(&self.link, &self.keys).await
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    async fn orphans(
        &self,
        me: &WorkerId,
        in_hand: InHand<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        orphans::orphans(&self.link, &self.keys, me, in_hand, limit).await
    }

    async fn overdue(
        &self,
        queue: &QueueName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        overdue::overdue(&self.link, &self.keys, queue, before, limit).await
    }

    async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        let (mut left, mut removed) = (limit, 0);
        while left > 0 {
            let chunk = left.min(EXPIRE_AT_ONCE);
            let reply = self.link.eval(scripts::expire(&self.keys, chunk)).await?;
            let (met, gone) = scripts::expired(reply).map_err(|why| self.link.corrupt(why))?;
            removed += gone;
            left -= chunk;
            if met < chunk {
                break;
            }
        }
        Ok(removed)
    }

    async fn refile(&self) -> Result<bool, StoreError> {
        self.refile.slice(&self.link, &self.keys).await
    }

    async fn watch(&self, topic: Topic) -> Result<Watch, StoreError> {
        self.watches.watch(self.keys.topic(&topic)).await.map(Watch)
    }

    fn now(&self) -> Timestamp {
        self.link.now()
    }

    async fn check(&self) -> Vec<Finding> {
        check::findings(&self.link).await
    }

    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the store did not close in time; what was on its way may be lost");
        }
        self.link.close();
    }
}
