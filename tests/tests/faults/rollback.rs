//! A store that came back without its newest writes, or with none at all.

use std::time::Duration;

use haul_common::{
    job::{JobId, Outcome, StateKind, json},
    life::Ended,
    protocol::Protocol,
};
use haul_tests::{
    site::{Kind, Site, outcomes},
    wait::eventually,
    worker_process::{QUEUE, Settings, WorkerProcess},
};
use haul_worker::lease::take;

/// A message is missed after 30 s, and looked for every 10 s or so.
const HEALED: Duration = Duration::from_secs(90);

async fn is_recorded_as_running(site: &Site, id: &JobId) {
    eventually("its record to say that it runs", HEALED, || async {
        match site.producer.find(id).await {
            Ok(Some(record)) if record.life.state.kind() == StateKind::Running => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn an_ended_job_that_waits_again_without_a_message_gets_one() {
    let site = Site::of(Kind::Fleet).await;
    let id = site.submit(&["ok"]).await;
    let before = site.memory();
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    site.ended(&id, HEALED).await;
    site.is_empty(0, HEALED).await;
    before.restore();
    site.all_succeed(std::slice::from_ref(&id), HEALED).await;
    assert_eq!(site.ledger().count("effect", &id), 2);
}

#[tokio::test]
async fn an_ended_job_that_seems_to_run_is_sent_again_by_the_worker_that_does_not_run_it() {
    let site = Site::of(Kind::Fleet).await;
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let id = site.submit(&["sleep_ms 1500", "ok"]).await;
    is_recorded_as_running(&site, &id).await;
    let before = site.memory();
    site.ended(&id, HEALED).await;
    site.is_empty(0, HEALED).await;
    before.restore();
    let record = site.ended(&id, HEALED).await;
    assert_eq!(outcomes(&record), [Outcome::Released, Outcome::Succeeded]);
}

#[tokio::test]
async fn a_running_job_whose_claim_was_forgotten_runs_once_and_counts() {
    let site = Site::of(Kind::Fleet).await;
    let id = site.submit(&["sleep_ms 8000", "ok"]).await;
    let before = site.memory();
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    is_recorded_as_running(&site, &id).await;
    before.restore();
    is_recorded_as_running(&site, &id).await;
    site.all_succeed(std::slice::from_ref(&id), HEALED).await;
    assert_eq!(site.ledger().count("start", &id), 1);
}

#[tokio::test]
async fn a_running_job_that_was_forgotten_altogether_runs_once_and_counts() {
    let site = Site::of(Kind::Fleet).await;
    let nothing = site.memory();
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let id = site.submit(&["sleep_ms 8000", "ok"]).await;
    is_recorded_as_running(&site, &id).await;
    nothing.restore();
    is_recorded_as_running(&site, &id).await;
    site.all_succeed(std::slice::from_ref(&id), HEALED).await;
    assert_eq!(site.ledger().count("start", &id), 1);
}

#[tokio::test]
async fn a_lease_that_was_forgotten_is_settled_and_its_job_runs_no_more() {
    let site = Site::of(Kind::Fleet).await;
    let id = site.submit(&["ok"]).await;
    let before = site.memory();
    let protocol = Protocol::new(site.producer.backend().clone());
    let (queue, lease) = (QUEUE.parse().unwrap(), Duration::from_secs(3));
    let taken = take(&protocol, &queue, lease, Duration::ZERO)
        .await
        .unwrap();
    let token = taken.unwrap().token;
    before.restore();
    assert_eq!(site.record(&id).await.life.starts, 0);
    let done = Ended::Succeeded(json(&"by somebody").unwrap());
    protocol.settle_lease(&id, &token, done).await.unwrap();
    // Its guard comes to a worker, which drops it.
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let second = site.submit(&["sleep_ms 4000"]).await;
    site.ended(&second, HEALED).await;
    assert_eq!(outcomes(&site.record(&id).await), [Outcome::Succeeded]);
    assert_eq!(site.ledger().count("start", &id), 0);
}
