//! A store whose calls go wrong by plan.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Call, Fault, Plan};
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

/// A store whose calls go wrong by plan.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Plan,
}

impl FaultyStore {
    /// `inner`, with what `plan` says.
    pub fn new(inner: Arc<dyn Store>, plan: Plan) -> Arc<Self> {
        Arc::new(Self { inner, plan })
    }

    async fn go<T>(
        &self,
        call: Call,
        carry_out: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.plan.store(call).await;
        Fault::befall(fault, carry_out, injected).await
    }
}

fn injected() -> StoreError {
    StoreError::Unreachable {
        at: "a faulty store".to_owned(),
        why: "by plan".to_owned(),
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create(&self, records: Vec<Record>) -> Result<Vec<Created>, StoreError> {
        self.go(Call::Create, self.inner.create(records)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.go(Call::Claim, self.inner.claim(claim)).await
    }

    async fn apply(&self, change: Change) -> Result<Applied, StoreError> {
        self.go(Call::Apply, self.inner.apply(change)).await
    }

    async fn note(&self, note: Note) -> Result<Kept, StoreError> {
        self.go(Call::Keep, self.inner.note(note)).await
    }

    async fn save(&self, save: Save) -> Result<Kept, StoreError> {
        self.go(Call::Keep, self.inner.save(save)).await
    }

    async fn saved(&self, id: &JobId) -> Result<Saved, StoreError> {
        self.go(Call::Read, self.inner.saved(id)).await
    }

    async fn keep_script(&self, script: Script) -> Result<(), StoreError> {
        self.go(Call::Keep, self.inner.keep_script(script)).await
    }

    async fn script(
        &self,
        name: &ScriptName,
        version: Option<&ScriptVersion>,
    ) -> Result<Option<Script>, StoreError> {
        self.go(Call::Read, self.inner.script(name, version)).await
    }

    async fn scripts(&self) -> Result<Vec<Script>, StoreError> {
        self.go(Call::Read, self.inner.scripts()).await
    }

    async fn forget_script(&self, name: &ScriptName) -> Result<bool, StoreError> {
        self.go(Call::Keep, self.inner.forget_script(name)).await
    }

    async fn beat(&self, beat: Beat) -> Result<Pulse, StoreError> {
        self.go(Call::Beat, self.inner.beat(beat)).await
    }

    async fn lease(
        &self,
        worker: &WorkerId,
        lease: Duration,
        renew: bool,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.go(Call::Beat, self.inner.lease(worker, lease, renew))
            .await
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StoreError> {
        self.go(Call::Beat, self.inner.retire(worker)).await
    }

    async fn is_alive(&self, worker: &WorkerId, dropped: bool) -> Result<bool, StoreError> {
        self.go(Call::Read, self.inner.is_alive(worker, dropped))
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.go(Call::Read, self.inner.workers()).await
    }

    async fn lost_workers(&self) -> Result<u64, StoreError> {
        self.go(Call::Read, self.inner.lost_workers()).await
    }

    async fn find(&self, id: &JobId) -> Result<Option<Record>, StoreError> {
        self.go(Call::Read, self.inner.find(id)).await
    }

    async fn list(&self, filter: &Filter, page: PageRequest) -> Result<Listing, StoreError> {
        self.go(Call::Read, self.inner.list(filter, page)).await
    }

    async fn counts(&self) -> Result<Vec<QueueCounts>, StoreError> {
        self.go(Call::Read, self.inner.counts()).await
    }

    async fn batch(&self, batch: &BatchId) -> Result<Option<BatchCounts>, StoreError> {
        self.go(Call::Read, self.inner.batch(batch)).await
    }

    async fn batches(&self, page: PageRequest) -> Result<BatchListing, StoreError> {
        self.go(Call::Read, self.inner.batches(page)).await
    }

    async fn orphans(
        &self,
        me: &WorkerId,
        in_hand: InHand<'_>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.go(Call::Read, self.inner.orphans(me, in_hand, limit))
            .await
    }

    async fn overdue(
        &self,
        queue: &QueueName,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.go(Call::Read, self.inner.overdue(queue, before, limit))
            .await
    }

    async fn expire(&self, limit: usize) -> Result<usize, StoreError> {
        self.go(Call::Read, self.inner.expire(limit)).await
    }

    async fn refile(&self) -> Result<bool, StoreError> {
        self.go(Call::Read, self.inner.refile()).await
    }

    async fn oldest(&self, queues: &[QueueName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.go(Call::Read, self.inner.oldest(queues)).await
    }

    async fn pause(&self, queue: &QueueName, pause: Pause) -> Result<bool, StoreError> {
        self.go(Call::Keep, self.inner.pause(queue, pause)).await
    }

    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError> {
        self.go(Call::Keep, self.inner.resume(queue)).await
    }

    async fn pauses(&self) -> Result<Pauses, StoreError> {
        self.go(Call::Read, self.inner.pauses()).await
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn watch(&self, topic: Topic) -> Result<Watch, StoreError> {
        self.go(Call::Read, self.inner.watch(topic)).await
    }

    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    async fn check(&self) -> Vec<Finding> {
        self.inner.check().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
