//! Calls of brokers and stores that fail, or whose answers are lost, one at a time.

use std::time::Duration;

use futures_util::future::join_all;
use haul_common::{
    connect::Backend,
    faults::{Call, Fault, FaultyBroker, FaultyStore, Plan},
    job::{JobId, Outcome, StateKind},
};
use haul_producer::Producer;
use haul_tests::{
    site::{BOTH, Kind, Site, outcomes},
    wait::SOON,
    worker_process::{LedgerFile, QUEUE, Script, play},
};
use haul_worker::{Running, Worker};

/// A call that failed is made again once the worker's heartbeat finds the store well.
const SOME_HEARTBEATS: Duration = Duration::from_secs(30);

fn faulty(site: &Site, plan: &Plan) -> Backend {
    let Backend {
        broker,
        store,
        embedded,
    } = site.producer.backend().clone();
    Backend {
        broker: FaultyBroker::new(broker, plan.clone()),
        store: FaultyStore::new(store, plan.clone()),
        embedded,
    }
}

async fn worker(site: &Site, plan: &Plan) -> Running {
    let ledger = LedgerFile::open(&site.ledger_path()).unwrap();
    let worker = Worker::new(faulty(site, plan)).unwrap().queue(QUEUE, 2);
    worker.state(ledger).handle(play).start().await.unwrap()
}

async fn stop(worker: Running) {
    worker.drain();
    worker.finished().await.unwrap();
}

/// The job ends like this in spite of the plan, which must have struck.
async fn ends_all_the_same(kind: Kind, plan: Plan, script: &[&str], expected: &[Outcome]) {
    let site = Site::of(kind).await;
    let id = site.submit(script).await;
    let worker = worker(&site, &plan).await;
    check(&site, &id, &plan, expected).await;
    site.is_empty(0, SOON).await;
    stop(worker).await;
}

async fn check(site: &Site, id: &JobId, plan: &Plan, expected: &[Outcome]) {
    let record = site.ended(id, SOME_HEARTBEATS).await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded, "{plan:?}");
    assert_eq!(outcomes(&record), expected, "{plan:?}: {record:?}");
    assert_eq!(site.ledger().count("effect", id), 1, "{plan:?}");
    assert!(plan.struck() > 0, "nothing went wrong: {plan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_confirm_is_unknown_is_submitted_and_runs_once() {
    join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let plan = Plan::new().at(Call::Publish, 1, Fault::Lost);
        let producer = Producer::new(faulty(&site, &plan));
        let job = producer.submit(Script::new(&["ok"])).await.unwrap();
        assert_eq!(
            plan.made(Call::Publish),
            2,
            "published again with the same id"
        );
        let worker = worker(&site, &Plan::new()).await;
        check(&site, job.id(), &plan, &[Outcome::Succeeded]).await;
        site.is_empty(0, SOON).await;
        stop(worker).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_refused_leaves_nothing_behind() {
    let site = Site::of(Kind::Embedded).await;
    let plan = Plan::new().at(Call::Publish, 1, Fault::Before);
    let producer = Producer::new(faulty(&site, &plan));
    let job = producer.submit(Script::new(&["ok"])).id("refused").await;
    assert!(job.is_err());
    assert!(
        site.producer
            .find(&"refused".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_store_could_not_record_is_accepted_and_runs_once() {
    join_all(BOTH.map(|kind| async move {
        for fault in [Fault::Before, Fault::Lost] {
            let site = Site::of(kind).await;
            let plan = Plan::new().at(Call::Create, 1, fault);
            let producer = Producer::new(faulty(&site, &plan));
            let job = producer.submit(Script::new(&["ok"])).await.unwrap();
            let worker = worker(&site, &Plan::new()).await;
            site.did("end", 1, SOON).await;
            check(&site, job.id(), &plan, &[Outcome::Succeeded]).await;
            stop(worker).await;
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_whose_claim_was_not_answered_runs_and_is_not_spent() {
    let plan = || Plan::new().at(Call::Claim, 1, Fault::Lost);
    let run = |kind| ends_all_the_same(kind, plan(), &["ok"], &[Outcome::Succeeded]);
    join_all(BOTH.map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_not_answered_is_recorded_once() {
    let plan = || Plan::new().at(Call::Apply, 1, Fault::Lost);
    let run = |kind| ends_all_the_same(kind, plan(), &["ok"], &[Outcome::Succeeded]);
    join_all(BOTH.map(run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_at_any_call_of_an_attempt_delays_its_job_and_no_more() {
    // A failing and a succeeding attempt: two claims, two ends, and a publication.
    let calls = [
        (Call::Claim, 1),
        (Call::Claim, 2),
        (Call::Apply, 1),
        (Call::Apply, 2),
    ];
    let calls = calls.into_iter().chain([(Call::Publish, 1)]);
    let faults = calls.flat_map(|call| [(call, Fault::Before), (call, Fault::Lost)]);
    let faults: Vec<_> = faults.collect();
    join_all(BOTH.iter().flat_map(|kind| {
        faults.iter().map(|((call, nth), fault)| {
            let plan = Plan::new().at(*call, *nth, *fault);
            let expected = &[Outcome::Failed, Outcome::Succeeded];
            ends_all_the_same(*kind, plan, &["fail 1"], expected)
        })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_errors_in_a_row_are_outlasted() {
    let plan = || {
        Plan::new()
            .from(Call::Claim, 1, 3, Fault::Lost)
            .from(Call::Apply, 2, 6, Fault::Before)
            .from(Call::Publish, 1, 5, Fault::Before)
    };
    let expected = &[Outcome::Failed, Outcome::Succeeded];
    join_all(BOTH.map(|kind| ends_all_the_same(kind, plan(), &["fail 1"], expected))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_heartbeat_about_one_attempt_does_not_stop_the_next_one() {
    // The third beat is made while the first attempt runs, and looked at while the second does.
    let plan = || Plan::new().at(Call::Beat, 3, Fault::Late(Duration::from_secs(3)));
    let script = &["sleep_ms 4000", "fail 1"];
    let expected = &[Outcome::Failed, Outcome::Succeeded];
    join_all(BOTH.map(|kind| ends_all_the_same(kind, plan(), script, expected))).await;
}
