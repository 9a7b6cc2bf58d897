//! How attempts end, and what follows.

use std::time::Duration;

use haul_common::{
    job::{Backoff, Outcome, Reason, StateKind, json},
    time::Timestamp,
    wire::encode,
};
use haul_producer::WaitError;
use haul_tests::{
    fleet::{Fleet, history, reason, result, until},
    scripted::{self, Act},
};
use haul_worker::Worker;

haul_tests::on_both! {
    a_job_succeeds_with_its_result,
    a_job_that_failed_runs_again_and_every_attempt_is_kept,
    a_job_without_attempts_left_is_dead,
    a_fatal_failure_is_never_retried,
    retry_after_keeps_its_delay,
    throttled_costs_no_attempt_and_slows_its_queue,
    postponed_costs_no_attempt_and_its_queue_goes_on,
    an_attempt_that_takes_too_long_is_timed_out_and_retried,
    a_panic_is_a_failure_and_its_neighbours_go_on,
    a_handler_that_blocks_its_runtime_keeps_its_job,
    a_blocking_handler_runs_and_may_panic,
    a_result_over_the_limit_is_fatal,
    arguments_of_another_type_are_malformed,
    an_unknown_task_is_dead,
    a_deadline_passes_in_the_queue,
    a_deadline_passes_while_it_runs,
}

async fn a_job_succeeds_with_its_result(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Ok]).await;
    assert_eq!(result(&job).await, "done");
    let record = fleet.find(job.id()).await;
    assert_eq!(history(&record), [(1, Outcome::Succeeded)]);
    assert_eq!(record.life.error, None);
}

async fn a_job_that_failed_runs_again_and_every_attempt_is_kept(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let acts = [Act::Fail("one".into()), Act::Fail("two".into()), Act::Ok];
    let job = fleet.submit(acts).await;
    assert_eq!(result(&job).await, "done");
    let record = fleet.find(job.id()).await;
    let ended = [Outcome::Failed, Outcome::Failed, Outcome::Succeeded];
    assert_eq!(
        history(&record),
        [1, 2, 3].into_iter().zip(ended).collect::<Vec<_>>()
    );
    let errors: Vec<_> = record.attempts.iter().map(|a| a.error.as_deref()).collect();
    assert_eq!(errors, [Some("one"), Some("two"), None]);
    for (attempt, act) in record.attempts.iter().zip(["Fail", "Fail", "Ok"]) {
        assert!(
            attempt
                .log
                .contains(&format!("attempt {} does {act}", attempt.number))
        );
        assert_eq!(attempt.worker, *worker.id());
        assert!(attempt.started <= attempt.finished);
    }
    assert!(record.attempts.is_sorted_by_key(|attempt| attempt.fence));
}

async fn a_job_without_attempts_left_is_dead(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet
        .job([Act::Fail("boom".into())])
        .attempts(3)
        .await
        .unwrap();
    let record = fleet.ended(job.id()).await;
    assert_eq!(reason(&record), Reason::Exhausted);
    assert_eq!(history(&record), [1, 2, 3].map(|n| (n, Outcome::Failed)));
    let error = job.wait(Duration::from_secs(30)).await.unwrap_err();
    assert!(matches!(error, WaitError::Dead { error, .. } if error == "boom"));
    until("its dead letter", || async {
        fleet.dead_letters().await == 1
    })
    .await;
}

async fn a_fatal_failure_is_never_retried(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Fatal, Act::Ok]).await;
    let record = fleet.ended(job.id()).await;
    assert_eq!(reason(&record), Reason::Fatal);
    assert_eq!(history(&record), [(1, Outcome::Failed)]);
}

async fn retry_after_keeps_its_delay(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::RetryAfter(2000), Act::Ok]).await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Failed), (2, Outcome::Succeeded)]
    );
    let waited = record.attempts[1]
        .started
        .since(record.attempts[0].finished);
    // A message may start its job one unit of the delay levels early.
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
}

async fn throttled_costs_no_attempt_and_slows_its_queue(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet
        .job([Act::Throttle(2000), Act::Ok])
        .attempts(1)
        .await
        .unwrap();
    fleet.started(job.id(), 1).await;
    let other = fleet.submit([Act::Ok]).await;
    result(&other).await;
    result(&job).await;
    let (record, other) = (fleet.find(job.id()).await, fleet.find(other.id()).await);
    assert_eq!(
        history(&record),
        [(1, Outcome::Failed), (1, Outcome::Succeeded)]
    );
    let waited = other.attempts[0].started.since(record.attempts[0].finished);
    assert!(waited >= Duration::from_millis(1500), "{waited:?}");
}

async fn postponed_costs_no_attempt_and_its_queue_goes_on(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let acts = [Act::Postpone(200), Act::Postpone(2000), Act::Ok];
    let job = fleet.job(acts).attempts(1).await.unwrap();
    fleet.started(job.id(), 2).await;
    let other = fleet.submit([Act::Ok]).await;
    result(&other).await;
    result(&job).await;
    let (record, other) = (fleet.find(job.id()).await, fleet.find(other.id()).await);
    assert_eq!(
        history(&record),
        [
            (1, Outcome::Released),
            (1, Outcome::Released),
            (1, Outcome::Succeeded)
        ]
    );
    assert!(other.attempts[0].finished < record.attempts[2].started);
}

async fn an_attempt_that_takes_too_long_is_timed_out_and_retried(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet
        .job([Act::Listen, Act::Ok])
        .timeout(Duration::from_secs(5));
    let job = job.await.unwrap();
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::TimedOut), (2, Outcome::Succeeded)]
    );
    assert_eq!(
        record.attempts[0].error.as_deref(),
        Some("timed out after 5s")
    );
}

async fn a_panic_is_a_failure_and_its_neighbours_go_on(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let neighbour = fleet.submit([Act::Hold]).await;
    fleet.started(neighbour.id(), 1).await;
    let job = fleet.submit([Act::Panic, Act::Ok]).await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Panicked), (2, Outcome::Succeeded)]
    );
    assert_eq!(
        record.attempts[0].error.as_deref(),
        Some("panicked: told to")
    );
    fleet.desk.let_go(1);
    result(&neighbour).await;
    assert_eq!(fleet.find(neighbour.id()).await.life.starts, 1);
}

/// The application's only thread sleeps for longer than a worker may be silent.
async fn a_handler_that_blocks_its_runtime_keeps_its_job(fleet: Fleet) {
    let (urls, desk) = (fleet.urls(), fleet.desk.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let application = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let worker = Worker::connect(urls).await.unwrap().state(desk);
            let worker = worker
                .queue("default", 2)
                .handle(scripted::run)
                .start()
                .await
                .unwrap();
            let _ = stopped.await;
            worker.drain();
            worker.finished().await.unwrap();
        });
    });
    let job = fleet.submit([Act::Block(13_000)]).await;
    fleet.started(job.id(), 1).await;
    let _janitor = fleet.scripted().await;
    result(&job).await;
    let life = fleet.find(job.id()).await.life;
    assert_eq!((life.starts, life.crashes), (1, 0));
    drop(stop);
    tokio::task::spawn_blocking(|| application.join().unwrap())
        .await
        .unwrap();
}

async fn a_blocking_handler_runs_and_may_panic(fleet: Fleet) {
    let handler = scripted::run_blocking;
    let _worker = fleet
        .worker(|w| w.queue("default", 4).handle_blocking(handler))
        .await;
    let job = fleet.submit([Act::Panic, Act::Block(100)]).await;
    assert_eq!(result(&job).await, "done");
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Panicked), (2, Outcome::Succeeded)]
    );
}

async fn a_result_over_the_limit_is_fatal(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Return(256 * 1024)]).await;
    let record = fleet.ended(job.id()).await;
    assert_eq!(reason(&record), Reason::Fatal);
    assert!(record.life.error.unwrap().contains("the limit is 262144"));
    let job = fleet.submit([Act::Return(256 * 1024 - 2)]).await;
    assert_eq!(result(&job).await.len(), 256 * 1024 - 2);
}

async fn arguments_of_another_type_are_malformed(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let mut spec = haul_tests::jobs::spec("default", 1);
    spec.task = "test.scripted".parse().unwrap();
    fleet
        .post(encode(&haul_common::job::Envelope::first(
            spec.clone(),
            None,
        )))
        .await;
    let record = fleet.ended(&spec.id).await;
    assert_eq!(reason(&record), Reason::Malformed);
    assert!(record.life.error.unwrap().contains("test.scripted"));
    assert_eq!(
        record.spec.args.get(),
        json(&serde_json::json!({ "n": 1 })).unwrap().get()
    );
}

async fn an_unknown_task_is_dead(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let spec = haul_tests::jobs::spec("default", 1);
    fleet
        .post(encode(&haul_common::job::Envelope::first(
            spec.clone(),
            None,
        )))
        .await;
    let record = fleet.ended(&spec.id).await;
    assert_eq!(reason(&record), Reason::UnknownTask);
    assert!(record.life.error.unwrap().contains("test.count"));
}

async fn a_deadline_passes_in_the_queue(fleet: Fleet) {
    let deadline = Timestamp::now() + Duration::from_secs(1);
    let job = fleet.job([Act::Ok]).deadline(deadline).await.unwrap();
    until("its deadline", || async { Timestamp::now() > deadline }).await;
    let _worker = fleet.scripted().await;
    let record = fleet.ended(job.id()).await;
    assert_eq!(reason(&record), Reason::Deadline);
    assert_eq!(fleet.desk.starts(job.id()), 0);
}

async fn a_deadline_passes_while_it_runs(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let deadline = Timestamp::now() + Duration::from_secs(10);
    let backoff = Backoff::none();
    let job = fleet
        .job([Act::Listen])
        .deadline(deadline)
        .backoff(backoff)
        .await
        .unwrap();
    let record = fleet.reaches(job.id(), StateKind::Dead).await;
    assert_eq!(reason(&record), Reason::Deadline);
    assert_eq!(history(&record), [(1, Outcome::TimedOut)]);
}
