//! The port to what is known.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    KIND, Sqlite, check,
    fault::Fault,
    jobs::{self, NewJob},
    oldest, pauses, query,
    row::{self, Key},
    saves, scripts, tally, workers,
    writer::{OnDisk, Txn},
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
};

/// Records that share a call to the writer.
const CHUNK: usize = 1000;
/// Jobs forgotten in one commit; others wait for it.
const EXPIRED_MAX: usize = 500;

impl Sqlite {
    async fn write<T: Send + 'static>(
        &self,
        weight: usize,
        sync: OnDisk,
        work: impl Fn(&Txn<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let written = self.inner.writer.call(weight, sync, work).await;
        written.map_err(|fault| self.inner.store_error(fault))
    }

    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&rusqlite::Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let seen = self.inner.readers.read(look).await;
        seen.map_err(|fault| self.inner.store_error(fault))
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn create(&self, records: Vec<Record>) -> Result<Vec<Created>, StoreError> {
        let mut created = Vec::with_capacity(records.len());
        let mut records = records.into_iter();
        loop {
            let made = records.by_ref().take(CHUNK).map(NewJob::new);
            let jobs: Vec<NewJob> = made
                .collect::<Result<_, _>>()
                .map_err(|fault| self.inner.store_error(fault))?;
            if jobs.is_empty() {
                return Ok(created);
            }
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id().clone()).collect();
            let write = move |txn: &Txn<'_>| jobs.iter().map(|job| job.create(txn)).collect();
            let written: Vec<Created> = self.write(ids.len(), OnDisk::Now, write).await?;
            created.extend(written);
            for id in &ids {
                self.inner.hub.tick_job(id);
            }
        }
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        let id = claim.id.clone();
        let work = move |txn: &Txn<'_>| jobs::claim(txn, &claim, Timestamp::now(), micros());
        let claimed = self.write(1, OnDisk::Soon, work).await?;
        self.inner.hub.tick_job(&id);
        Ok(claimed)
    }

    async fn apply(&self, change: Change) -> Result<Applied, StoreError> {
        let id = change.id.clone();
        let asks_to_stop = change.step.life.cancel_requested && change.step.ended.is_none();
        let work = move |txn: &Txn<'_>| jobs::apply(txn, &change);
        let applied = self.write(1, OnDisk::Now, work).await?;
        self.inner.hub.tick_job(&id);
        if asks_to_stop {
            self.inner.hub.tick_cancels();
        }
        Ok(applied)
    }

    async fn note(&self, note: Note) -> Result<Kept, StoreError> {
        let id = note.id.clone();
        let kept = self
            .write(1, OnDisk::Soon, move |txn| saves::note(txn, &note))
            .await?;
        self.inner.hub.tick_job(&id);
        Ok(kept)
    }

    async fn save(&self, save: Save) -> Result<Kept, StoreError> {
        self.write(1, OnDisk::Now, move |txn| saves::save(txn, &save))
            .await
    }

    async fn saved(&self, id: &JobId) -> Result<Saved, StoreError> {
        let id = id.clone();
        self.read(move |db| saves::saved(db, &id)).await
    }

    async fn keep_script(&self, script: Script) -> Result<(), StoreError> {
        let work = move |txn: &Txn<'_>| scripts::keep(txn, &script);
        self.write(1, OnDisk::Now, work).await
    }

    async fn script(
        &self,
        name: &ScriptName,
        version: Option<&ScriptVersion>,
    ) -> Result<Option<Script>, StoreError> {
        let (name, version) = (name.clone(), version.cloned());
        self.read(move |db| scripts::find(db, &name, version.as_ref()))
            .await
    }

    async fn scripts(&self) -> Result<Vec<Script>, StoreError> {
        self.read(scripts::all).await
    }

    async fn forget_script(&self, name: &ScriptName) -> Result<bool, StoreError> {
        let name = name.clone();
        let work = move |txn: &Txn<'_>| scripts::forget(txn, &name);
        self.write(1, OnDisk::Now, work).await
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, StoreError> {
        let work = move |txn: &Txn<'_>| workers::beat(txn, &beat, Timestamp::now());
        self.write(1, OnDisk::Soon, work).await
    }

    async fn lease(
        &self,
        worker: &WorkerId,
        lease: Duration,
        renew: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        let worker = worker.clone();
        let work =
            move |txn: &Txn<'_>| workers::lease(txn, &worker, lease, renew, Timestamp::now());
        self.write(1, OnDisk::Now, work).await
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StoreError> {
        let worker = worker.clone();
        self.write(1, OnDisk::Soon, move |txn| workers::retire(txn, &worker))
            .await
    }

    async fn is_alive(&self, worker: &WorkerId, _: bool) -> Result<bool, StoreError> {
        let worker = worker.clone();
        self.read(move |db| workers::is_alive(db, &worker, Timestamp::now()))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.read(|db| workers::living(db, Timestamp::now())).await
    }

    async fn lost_workers(&self) -> Result<u64, StoreError> {
        self.read(|db| workers::lost(db, Timestamp::now())).await
    }

    async fn find(&self, id: &JobId) -> Result<Option<Record>, StoreError> {
        let id = id.clone();
        self.read(move |db| row::record(db, Key::Id(&id), false))
            .await
    }

    async fn list(&self, filter: &Filter, page: PageRequest) -> Result<Listing, StoreError> {
        let filter = filter.clone();
        self.read(move |db| query::list(db, &filter, &page, Timestamp::now()))
            .await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, StoreError> {
        self.read(query::counts).await
    }

    async fn batch(&self, batch: &BatchId) -> Result<Option<BatchCounts>, StoreError> {
        let batch = batch.clone();
        self.read(move |db| tally::batch(db, &batch)).await
    }

    async fn batches(&self, page: PageRequest) -> Result<BatchListing, StoreError> {
        self.read(move |db| tally::batches(db, &page)).await
    }

    async fn oldest(&self, queues: &[QueueName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let queues = queues.to_vec();
        self.read(move |db| oldest::oldest(db, &queues, Timestamp::now()))
            .await
    }

    async fn pause(&self, queue: &QueueName, pause: Pause) -> Result<bool, StoreError> {
        let queue = queue.clone();
        let work = move |txn: &Txn<'_>| pauses::pause(txn, &queue, &pause);
        let paused = self.write(1, OnDisk::Now, work).await?;
        self.inner.hub.tick_cancels();
        Ok(paused)
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        let queue = queue.clone();
        let work = move |txn: &Txn<'_>| pauses::resume(txn, &queue);
        let resumed = self.write(1, OnDisk::Now, work).await?;
        self.inner.hub.tick_cancels();
        Ok(resumed)
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        self.read(pauses::all).await
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
        let own = me.clone();
        let mut orphans = self
            .read(move |db| query::orphans(db, &own, limit, Timestamp::now()))
            .await?;
        orphans
            .retain(|record| record.life.state.worker() != Some(me) || !in_hand(&record.spec.id));
        Ok(orphans)
    }

    /// Whatever a power failure takes back, it takes back from messages and records alike, newest
    /// first: a record here never outlives its message.
    async fn overdue(
        &self,
        _: &QueueName,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<Record>, StoreError> {
        Ok(Vec::new())
    }

    async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        while forgotten < limit {
            let next = (limit - forgotten).min(EXPIRED_MAX);
            let most = i64::try_from(next).unwrap_or(i64::MAX);
            let work = move |txn: &Txn<'_>| jobs::expire(txn, Timestamp::now(), most);
            let gone = self.write(next, OnDisk::Soon, work).await?;
            forgotten += gone;
            if gone < next {
                break;
            }
        }
        Ok(forgotten)
    }

    /// Records and indexes are written in one transaction.
    async fn refile(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn watch(&self, topic: Topic) -> Result<Watch, StoreError> {
        Ok(Watch(match topic {
            Topic::Job(id) => self.inner.hub.watch_job(id),
            Topic::Cancels => self.inner.hub.watch_cancels(),
        }))
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn check(&self) -> Vec<Finding> {
        check::look(&self.inner).await
    }

    async fn close(&self) {
        self.shut().await;
    }
}

/// The clock that fences grow with.
fn micros() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}
