//! Workers that are killed or frozen in the middle of their work.

use std::time::{Duration, Instant};

use haul_common::job::{Outcome, StateKind};
use haul_tests::{
    site::{BOTH, Kind, Site, outcomes},
    wait::{SOON, eventually},
    worker_process::{Settings, WorkerProcess},
};

const SLOTS: u32 = 8;
const JOBS: usize = 200;
/// Jobs that wait behind one.
const BEHIND: usize = 60;

async fn kill_in_mid_work(kind: Kind, limit: Duration) {
    let site = Site::of(kind).await;
    let settings = Settings {
        slots: SLOTS,
        ..Settings::default()
    };
    let mut worker = WorkerProcess::ready(&site, &settings).await;
    let ids = site.submit_many(JOBS, &["sleep_ms 50"]).await;
    site.did("effect", JOBS / 4, SOON).await;
    worker.kill9();
    let before = site.ledger().total("start");
    assert!(before < JOBS, "killed too late to show anything");
    let _next = WorkerProcess::ready(&site, &settings).await;
    let since = Instant::now();
    site.did("start", before + 1, limit).await;
    if kind == Kind::Embedded {
        assert!(since.elapsed() < Duration::from_secs(5), "not at once");
    }
    haul_tests::wait::eventually("all to have their effect", limit, || async {
        let done = site.ledger().counts("effect").len();
        if done == JOBS { Ok(()) } else { Err(done) }
    })
    .await;
    for id in &ids {
        site.ended(id, limit).await;
    }
    site.all_succeed(&ids, SOON).await;
    let reruns = site.ledger().total("start") - JOBS;
    assert!(reruns <= SLOTS as usize, "{reruns} ran again");
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_no_job_and_repeats_at_most_what_it_was_running() {
    tokio::join!(
        kill_in_mid_work(Kind::Embedded, Duration::from_secs(15)),
        kill_in_mid_work(Kind::Fleet, Duration::from_secs(30)),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_worker_moves_on_with_the_next_one() {
    futures_util::future::join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let mut victim = WorkerProcess::ready(&site, &Settings::default()).await;
        let id = site.submit(&["kill 1"]).await;
        victim.ended(SOON).await;
        let _next = WorkerProcess::ready(&site, &Settings::default()).await;
        let record = site.ended(&id, Duration::from_secs(30)).await;
        assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_past_its_lease_is_refused() {
    futures_util::future::join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let frozen = WorkerProcess::ready(&site, &Settings::default()).await;
        let id = site.submit(&["sleep_ms 1500"]).await;
        site.did("start", 1, SOON).await;
        frozen.stop();
        let _other = WorkerProcess::ready(&site, &Settings::default()).await;
        let record = site.ended(&id, Duration::from_secs(45)).await;
        assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
        frozen.cont();
        // Its handler comes to its effect, too late; its end is refused.
        eventually("the refusal", SOON, || async {
            let refused = frozen.said("its end was refused") || frozen.said("lost its job");
            if refused { Ok(()) } else { Err(frozen.log()) }
        })
        .await;
        frozen.becomes_ready(Duration::from_secs(30)).await;
        let again = site.record(&id).await;
        assert_eq!(again.life.fence, record.life.fence);
        assert_eq!(outcomes(&again), outcomes(&record));
        site.is_empty(0, SOON).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_frozen_between_claim_and_start_does_not_start() {
    futures_util::future::join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let settings = Settings {
            freeze_at: Some("claim.granted"),
            ..Settings::default()
        };
        let frozen = WorkerProcess::ready(&site, &settings).await;
        let id = site.submit(&["ok"]).await;
        eventually("its claim", SOON, || async {
            let state = site.record(&id).await.life.state.kind();
            (state == StateKind::Running).then_some(()).ok_or(state)
        })
        .await;
        let _other = WorkerProcess::ready(&site, &Settings::default()).await;
        let record = site.ended(&id, Duration::from_secs(45)).await;
        assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
        frozen.cont();
        eventually("its word", SOON, || async {
            let lost = frozen.said("lost its job");
            if lost { Ok(()) } else { Err(frozen.log()) }
        })
        .await;
        assert_eq!(site.ledger().count("start", &id), 1, "{kind:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_slept_past_its_lease_alone_goes_on_with_its_jobs() {
    futures_util::future::join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let worker = WorkerProcess::ready(&site, &Settings::default()).await;
        let ids = site.submit_many(4, &["sleep_ms 20000"]).await;
        site.did("start", 4, SOON).await;
        let owner = site.record(&ids[0]).await.life.state.worker().cloned();
        let owner = owner.unwrap();
        worker.stop();
        let store = &site.producer.backend().store;
        eventually("its lease to end", SOON, || async {
            match store.is_alive(&owner, false).await {
                Ok(false) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        worker.cont();
        site.all_succeed(&ids, Duration::from_secs(30)).await;
        for id in &ids {
            let record = site.record(id).await;
            assert_eq!(outcomes(&record), [Outcome::Succeeded], "{kind:?}");
        }
    }))
    .await;
}

/// Its lease would go on for ten seconds, but its connections are gone. And what waits in its lane has
/// waited for less long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_job_starts_again_before_its_lease_ends_and_its_lane() {
    let site = Site::of(Kind::Fleet).await;
    let one_slot = Settings {
        slots: 1,
        ..Settings::default()
    };
    let mut victim = WorkerProcess::ready(&site, &one_slot).await;
    site.can_judge().await;
    let first = site.submit(&["sleep_ms 8000"]).await;
    site.did("start", 1, SOON).await;
    site.submit_many(BEHIND, &["sleep_ms 200"]).await;
    let _other = WorkerProcess::ready(&site, &one_slot).await;
    site.did("start", 2, SOON).await;
    victim.kill9();
    let killed = Instant::now();
    let before = eventually("its second start", SOON, || async {
        let ledger = site.ledger();
        let starts = ledger.count("start", &first);
        if starts == 2 {
            Ok(ledger.total("start"))
        } else {
            Err(starts)
        }
    })
    .await;
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(before < BEHIND / 2, "it waited behind {before} of {BEHIND}");
}
