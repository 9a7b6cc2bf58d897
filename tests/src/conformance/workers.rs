//! Claims about workers: alive, gone, and what becomes of their jobs.

use std::{collections::BTreeMap, time::Duration};

use haul_common::{
    job::{Fence, JobId, WorkerId},
    life::Life,
    ports::{Beat, Claim, Pulse, Store, WorkerInfo},
    protocol::WORKER_TTL,
    time::Timestamp,
};

use super::changes::{apply, finish};
use crate::{
    jobs::{claim, granted, queue, running, spec},
    wait::eventually,
};

/// A worker that never beat is alive in doubt, for as long as a store cannot know better.
const BEYOND_DOUBT: Duration = Duration::from_secs(2 * WORKER_TTL.as_secs() + 5);

fn info(id: &WorkerId) -> WorkerInfo {
    WorkerInfo {
        id: id.clone(),
        host: "host \"1\" 🚚".to_owned(),
        pid: 4_000_000,
        started: Timestamp::from_millis(1_800_000_000_123),
        queues: BTreeMap::from([(queue("images"), 2), (queue("mail"), 8)]),
        quiet: true,
    }
}

pub(super) async fn beat(store: &dyn Store, id: &WorkerId, running: &[(JobId, Fence)]) -> Pulse {
    let beat = Beat {
        worker: info(id),
        running: running.to_vec(),
    };
    let mut pulse = store.beat(beat).await.unwrap();
    pulse.cancelled.sort();
    pulse.lost.sort();
    pulse.forgotten.sort();
    pulse
}

/// A beating worker is listed as it said, and is alive.
pub async fn a_beating_worker_is_listed_and_alive(store: &dyn Store) {
    let (one, two) = (WorkerId::random(), WorkerId::random());
    for id in [&one, &two, &one] {
        assert_eq!(beat(store, id, &[]).await, Pulse::default());
        assert!(store.is_alive(id, false).await.unwrap());
    }
    let mut workers = store.workers().await.unwrap();
    workers.sort_by(|a, b| a.id.cmp(&b.id));
    let mut expected = vec![info(&one), info(&two)];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(workers, expected);
}

/// A worker that left is gone; another one stays.
pub async fn a_retired_worker_is_not_alive(store: &dyn Store) {
    let (one, two) = (WorkerId::random(), WorkerId::random());
    beat(store, &one, &[]).await;
    beat(store, &two, &[]).await;
    store.retire(&one).await.unwrap();
    assert_eq!(store.workers().await.unwrap(), [info(&two)]);
    eventually("the end of doubt", BEYOND_DOUBT, || async {
        beat(store, &two, &[]).await;
        if store.is_alive(&one, false).await.unwrap() {
            Err("alive")
        } else {
            Ok(())
        }
    })
    .await;
    assert!(store.is_alive(&two, false).await.unwrap());
}

/// A worker that falls silent counts as lost, once; one that left, or holds a lease, does not.
pub async fn a_worker_that_fell_silent_is_lost(store: &dyn Store) {
    let [silent, left, live, lease] = [(); 4].map(|()| WorkerId::random());
    for id in [&silent, &left] {
        beat(store, id, &[]).await;
    }
    let short = Duration::from_millis(1);
    store.lease(&lease, short, false).await.unwrap();
    store.retire(&left).await.unwrap();
    assert_eq!(store.lost_workers().await.unwrap(), 0);
    eventually("the lost one", BEYOND_DOUBT, || async {
        beat(store, &live, &[]).await;
        match store.lost_workers().await.unwrap() {
            1 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    assert_eq!(store.workers().await.unwrap(), [info(&live)]);
    beat(store, &silent, &[]).await;
    assert_eq!(store.lost_workers().await.unwrap(), 0);
}

/// A heartbeat brings back wishes to stop, and attempts that are somebody else's by now.
pub async fn a_beat_tells_what_was_cancelled_and_what_was_lost(store: &dyn Store) {
    let (mine, theirs) = (WorkerId::random(), WorkerId::random());
    let mut attempts = Vec::new();
    for n in 0..4 {
        let spec = spec("mail", n);
        let life = running(store, &spec, &mine).await;
        attempts.push((spec.id.clone(), life.fence, spec));
    }
    let running: Vec<_> = attempts
        .iter()
        .map(|(id, fence, _)| (id.clone(), *fence))
        .collect();
    assert_eq!(beat(store, &mine, &running).await, Pulse::default());
    let [_, cancelled, finished, taken] = attempts.try_into().unwrap();
    apply(store, &cancelled.0, Life::request_cancel).await;
    finish(store, &finished.0, store.now() + Duration::from_secs(60)).await;
    apply(store, &taken.0, |life| life.lose(store.now())).await;
    let claim = Claim {
        attempt: 2,
        ..claim(&taken.2, &theirs)
    };
    granted(store.claim(claim).await.unwrap());
    let mut lost = vec![finished.0, taken.0];
    lost.sort();
    let cancelled = vec![cancelled.0];
    let expected = Pulse {
        cancelled,
        lost,
        ..Pulse::default()
    };
    assert_eq!(beat(store, &mine, &running).await, expected);
}

/// An attempt that the store forgot is not lost, but told: without a record, or with one from
/// before its claim.
pub async fn a_beat_tells_what_the_store_forgot(store: &dyn Store) {
    let mine = WorkerId::random();
    let known = spec("mail", 1);
    let life = running(store, &known, &mine).await;
    let later = Fence(life.fence.0 + 1);
    let forgotten = [(JobId::new(), Fence(7)), (known.id.clone(), later)];
    let pulse = beat(store, &mine, &forgotten).await;
    let mut expected: Vec<_> = forgotten.iter().map(|(id, _)| id.clone()).collect();
    expected.sort();
    assert_eq!(pulse.forgotten, expected);
    assert!(pulse.lost.is_empty() && pulse.cancelled.is_empty());
    assert!(store.find(&forgotten[0].0).await.unwrap().is_none());
}

/// What a worker has by the record only is nobody's, and what it has in hand is its own.
pub async fn a_workers_own_jobs_are_orphans_unless_it_has_them_in_hand(store: &dyn Store) {
    let mine = WorkerId::random();
    let (kept, dropped) = (spec("mail", 1), spec("mail", 2));
    for spec in [&kept, &dropped] {
        running(store, spec, &mine).await;
    }
    let in_hand = |id: &JobId| *id == kept.id;
    let orphans = eventually("its orphan", BEYOND_DOUBT, || async {
        beat(store, &mine, &[]).await;
        match store.orphans(&mine, &in_hand, 10).await.unwrap() {
            orphans if orphans.is_empty() => Err("none"),
            orphans => Ok(orphans),
        }
    })
    .await;
    let ids: Vec<_> = orphans.iter().map(|record| &record.spec.id).collect();
    assert_eq!(ids, [&dropped.id]);
}

/// Jobs of workers that do not beat are found, and those of workers that do are not.
pub async fn orphans_are_the_jobs_of_dead_workers(store: &dyn Store) {
    let (live, dead) = (WorkerId::random(), WorkerId::random());
    let (kept, orphan, waiting) = (spec("mail", 1), spec("mail", 2), spec("mail", 3));
    let life = running(store, &kept, &live).await;
    running(store, &orphan, &dead).await;
    store
        .create(vec![crate::jobs::record(waiting)])
        .await
        .unwrap();
    let attempts = [(kept.id.clone(), life.fence)];
    let orphans = eventually("orphans", BEYOND_DOUBT, || async {
        beat(store, &live, &attempts).await;
        let orphans = store.orphans(&live, &|_| true, 10).await.unwrap();
        if orphans.is_empty() {
            Err("none")
        } else {
            Ok(orphans)
        }
    })
    .await;
    let ids: Vec<_> = orphans.iter().map(|record| &record.spec.id).collect();
    assert_eq!(ids, [&orphan.id]);
    assert_eq!(orphans[0].life.state.worker(), Some(&dead));
    assert!(!store.is_alive(&dead, false).await.unwrap());
    apply(store, &orphan.id, |life| life.lose(store.now())).await;
    let left = store.orphans(&live, &|_| true, 10).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// No more orphans than asked for.
pub async fn orphans_come_a_few_at_a_time(store: &dyn Store) {
    let dead = WorkerId::random();
    for n in 0..5 {
        running(store, &spec("mail", n), &dead).await;
    }
    let live = WorkerId::random();
    eventually("orphans", BEYOND_DOUBT, || async {
        // A store where nobody beats has lost its memory, or is about to learn who lives.
        beat(store, &live, &[]).await;
        let count = store.orphans(&live, &|_| true, 3).await.unwrap().len();
        if count == 3 { Ok(()) } else { Err(count) }
    })
    .await;
    let all = store.orphans(&live, &|_| true, 10).await.unwrap();
    assert_eq!(all.len(), 5);
}

/// A lease keeps alive whose process is not there, as long as it says and no longer. It is beyond
/// doubt, and no worker that operators see.
pub async fn a_lease_lives_until_it_ends(store: &dyn Store) {
    let (held, over, none) = (WorkerId::random(), WorkerId::random(), WorkerId::random());
    let (kept, orphan) = (spec("mail", 1), spec("mail", 2));
    let until = store.lease(&held, WORKER_TTL * 6, false).await.unwrap();
    assert!(until.unwrap() > store.now() + WORKER_TTL * 5);
    let short = Duration::from_millis(500);
    store.lease(&over, short, false).await.unwrap();
    running(store, &kept, &held).await;
    running(store, &orphan, &over).await;
    let orphans = eventually("the end of a lease", BEYOND_DOUBT, || async {
        match store.orphans(&none, &|_| true, 10).await.unwrap() {
            orphans if orphans.is_empty() => Err("none"),
            orphans => Ok(orphans),
        }
    })
    .await;
    let ids: Vec<_> = orphans.iter().map(|record| &record.spec.id).collect();
    assert_eq!(ids, [&orphan.id]);
    assert!(!store.is_alive(&over, true).await.unwrap());
    assert!(store.is_alive(&held, true).await.unwrap());
    assert!(store.workers().await.unwrap().is_empty());
}

/// A lease can be made longer, or shorter, while it lasts.
pub async fn a_lease_is_renewed_while_it_lasts(store: &dyn Store) {
    let (id, unknown) = (WorkerId::random(), WorkerId::random());
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(1));
    let first = store.lease(&id, long, false).await.unwrap().unwrap();
    let second = store.lease(&id, long * 2, true).await.unwrap().unwrap();
    assert!(second >= first + long, "{first} {second}");
    assert!(store.lease(&unknown, long, true).await.unwrap().is_none());
    store.lease(&id, short, true).await.unwrap().unwrap();
    eventually("its end", BEYOND_DOUBT, || async {
        match store.lease(&id, short, true).await.unwrap() {
            Some(until) => Err(until),
            None => Ok(()),
        }
    })
    .await;
    store.lease(&id, long, false).await.unwrap().unwrap();
    store.retire(&id).await.unwrap();
    assert!(store.lease(&id, long, true).await.unwrap().is_none());
}
