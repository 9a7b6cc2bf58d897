//! Claims about batches: counts that are always right and cost little, and a list of them.

use std::{collections::BTreeMap, time::Duration};

use haul_common::{
    job::{BatchId, Fence, Reason, Record, StateKind, WorkerId},
    life::Life,
    ports::{Applied, BatchCounts, Claimed, PageRequest, Store},
    time::Timestamp,
};

use super::changes::{apply, finish};
use crate::jobs::{claim, failed, record, running, spec};

fn batch(name: &str) -> BatchId {
    name.parse().unwrap()
}

fn of(name: &str, n: u64) -> Record {
    let mut spec = spec("mail", n);
    spec.batch = Some(batch(name));
    record(spec)
}

async fn counted(store: &dyn Store, name: &str) -> BTreeMap<StateKind, u64> {
    let counts = store.batch(&batch(name)).await.unwrap();
    counts.map(|counts| counts.states).unwrap_or_default()
}

/// Counts of a batch move with its jobs, through all of their lives.
pub async fn counts_of_a_batch_follow_its_jobs(store: &dyn Store) {
    assert_eq!(store.batch(&batch("a")).await.unwrap(), None);
    let records: Vec<_> = (0..5).map(|n| of("a", n)).collect();
    let mut others = vec![record(spec("mail", 9)), of("b", 9)];
    others.extend(records.clone());
    store.create(others.clone()).await.unwrap();
    store.create(others).await.unwrap();
    assert_eq!(counted(store, "a").await, [(StateKind::Queued, 5)].into());

    for record in &records[..3] {
        running(store, &record.spec, &WorkerId::random()).await;
    }
    let ids: Vec<_> = records.iter().map(|record| &record.spec.id).collect();
    finish(store, ids[0], Timestamp::from_millis(1)).await;
    apply(store, ids[1], |life| {
        life.die(Reason::Fatal, failed("x"), store.now())
    })
    .await;
    let due = store.now() + Duration::from_secs(60);
    apply(store, ids[2], |life| {
        life.retry(failed("x"), due, store.now())
    })
    .await;
    apply(store, ids[3], |life| life.cancel(store.now())).await;
    let mut expected = BTreeMap::from([
        (StateKind::Queued, 1),
        (StateKind::Retrying, 1),
        (StateKind::Succeeded, 1),
        (StateKind::Dead, 1),
        (StateKind::Cancelled, 1),
    ]);
    assert_eq!(counted(store, "a").await, expected);

    apply(store, ids[1], Life::redrive).await;
    assert_eq!(store.expire(10).await.unwrap(), 1);
    expected.remove(&StateKind::Succeeded);
    expected.remove(&StateKind::Dead);
    expected.insert(StateKind::Queued, 2);
    assert_eq!(counted(store, "a").await, expected);
    assert_eq!(counted(store, "b").await, [(StateKind::Queued, 1)].into());
}

/// What is refused, held or not there changes no count.
pub async fn what_is_not_done_is_not_counted(store: &dyn Store) {
    let job = of("a", 1);
    let life = running(store, &job.spec, &WorkerId::random()).await;
    let held = store.claim(claim(&job.spec, &WorkerId::random())).await;
    assert!(matches!(held.unwrap(), Claimed::Held(_)));
    let mut step = life.release(store.now()).unwrap();
    step.from.fence = Fence(1);
    let change = haul_common::ports::Change {
        id: job.spec.id.clone(),
        step,
        expires: None,
        edit: None,
    };
    let superseded = store.apply(change).await.unwrap();
    assert!(matches!(superseded, Applied::Superseded(_)));
    apply(store, &job.spec.id, Life::request_cancel).await;
    assert_eq!(counted(store, "a").await, [(StateKind::Running, 1)].into());
}

/// A batch goes with its last job, and may come again.
pub async fn a_batch_is_forgotten_with_its_last_job(store: &dyn Store) {
    let job = of("a", 1);
    for _ in 0..2 {
        running(store, &job.spec, &WorkerId::random()).await;
        assert_eq!(counted(store, "a").await, [(StateKind::Running, 1)].into());
        finish(store, &job.spec.id, Timestamp::from_millis(1)).await;
        assert_eq!(store.expire(10).await.unwrap(), 1);
        assert_eq!(store.batch(&batch("a")).await.unwrap(), None);
        assert!(listed(store, 10).await.is_empty());
    }
}

/// All batches, page by page.
async fn listed(store: &dyn Store, limit: usize) -> Vec<BatchCounts> {
    let (mut batches, mut after) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = store.batches(PageRequest { limit, after }).await.unwrap();
        assert!(page.batches.len() <= limit);
        batches.extend(page.batches);
        after = page.next;
        if after.is_none() {
            return batches;
        }
    }
    panic!("a list without end");
}

/// Batches are listed by their first job, newest first, without gap or repetition.
pub async fn batches_are_listed_newest_first(store: &dyn Store) {
    let begin = Timestamp::now().as_millis() - 100_000;
    let make = |n: i64| Record {
        // Three in each millisecond.
        created: Timestamp::from_millis(begin + n / 3),
        ..of(&format!("b-{n:02}"), n.unsigned_abs())
    };
    store.create((0..25).map(make).collect()).await.unwrap();
    // A later job does not make a batch newer.
    let later = Record {
        created: Timestamp::from_millis(begin + 1000),
        ..of("b-00", 100)
    };
    store.create(vec![later]).await.unwrap();
    for limit in [1, 2, 10, 25, 26, 100] {
        let found = listed(store, limit).await;
        let names: Vec<String> = found.iter().map(|one| one.batch.to_string()).collect();
        let wanted: Vec<String> = (0..25).rev().map(|n| format!("b-{n:02}")).collect();
        assert_eq!(names, wanted, "{limit} at a time");
        assert_eq!(found[24].states, [(StateKind::Queued, 2)].into());
        assert_eq!(found[24].created.as_millis(), begin);
    }
    let wrong = PageRequest {
        limit: 1,
        after: Some("nowhere".to_owned()),
    };
    assert!(store.batches(wrong).await.is_err());
}

/// As many batches as jobs are counted like any other.
pub async fn a_thousand_batches_of_one_job_are_counted(store: &dyn Store) {
    let jobs = (0..1000).map(|n| of(&format!("b-{n}"), n)).collect();
    store.create(jobs).await.unwrap();
    let found = listed(store, 300).await;
    assert_eq!(found.len(), 1000);
    assert!(found.iter().all(|one| one.jobs() == 1));
}
