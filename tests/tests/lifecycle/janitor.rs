//! What heals by itself.

use std::time::Duration;

use haul_common::{
    job::{Outcome, Reason, Spec, TaskName, WorkerId, json},
    life::CRASH_LIMIT,
};
use haul_tests::{
    fleet::{Fleet, history, reason, result, until},
    jobs::{claim, found, granted, queue, record},
    scripted::{Act, Scripted},
};

haul_tests::on_both! {
    a_job_of_a_worker_that_vanished_is_taken_over,
    a_job_whose_workers_vanish_too_often_is_dead,
    a_worker_that_crashes_loses_its_attempt_and_no_job,
    what_is_over_is_forgotten,
}

/// A record that says: running, by a worker that never beat; its workers vanished before, `crashes`
/// times.
async fn orphan(fleet: &Fleet, crashes: u32) -> Spec {
    let args = Scripted {
        name: "done".into(),
        acts: vec![Act::Ok],
    };
    let task: TaskName = "test.scripted".parse().unwrap();
    let spec = Spec::new(task, queue("default"), json(&args).unwrap());
    let store = &*fleet.backend().store;
    let mut record = record(spec.clone());
    record.life.crashes = crashes;
    store.create(vec![record]).await.unwrap();
    granted(
        store
            .claim(claim(&spec, &WorkerId::random()))
            .await
            .unwrap(),
    );
    spec
}

async fn a_job_of_a_worker_that_vanished_is_taken_over(fleet: Fleet) {
    let spec = orphan(&fleet, 0).await;
    let _worker = fleet.scripted().await;
    result::<Scripted>(&fleet.producer.job(spec.id.clone())).await;
    let record = found(&*fleet.backend().store, &spec.id).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Lost), (2, Outcome::Succeeded)]
    );
    assert!(
        record.attempts[0]
            .error
            .as_ref()
            .unwrap()
            .contains("vanished")
    );
    assert_eq!(record.life.crashes, 1);
}

async fn a_job_whose_workers_vanish_too_often_is_dead(fleet: Fleet) {
    let spec = orphan(&fleet, CRASH_LIMIT - 1).await;
    let _worker = fleet.scripted().await;
    let record = fleet.ended(&spec.id).await;
    assert_eq!(reason(&record), Reason::Crashed);
    assert_eq!(history(&record), [(1, Outcome::Lost)]);
    assert_eq!(fleet.desk.starts(&spec.id), 0);
    until("its dead letter", || async {
        fleet.dead_letters().await == 1
    })
    .await;
}

async fn a_worker_that_crashes_loses_its_attempt_and_no_job(fleet: Fleet) {
    let first = fleet.scripted().await;
    let job = fleet.submit([Act::Hang, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    drop(first);
    let _second = fleet.scripted().await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Lost), (2, Outcome::Succeeded)]
    );
    assert_eq!(fleet.desk.starts(job.id()), 2);
}

async fn what_is_over_is_forgotten(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let kept = fleet.submit([Act::Ok]).await;
    let job = fleet
        .job([Act::Ok])
        .retention(Duration::from_secs(1))
        .await
        .unwrap();
    result(&kept).await;
    until("its record is forgotten", || async {
        job.find().await.unwrap().is_none()
    })
    .await;
    assert!(kept.find().await.unwrap().is_some());
}
