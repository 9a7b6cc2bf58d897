//! Jobs that somebody no longer wants.

use std::time::Duration;

use futures_util::future::join_all;
use haul_common::{
    job::{Backoff, Outcome, StateKind},
    protocol::CancelOutcome,
};
use haul_producer::{Job, WaitError};
use haul_tests::{
    fleet::{Fleet, LONG, history, result},
    scripted::{Act, Scripted},
};

haul_tests::on_both! {
    a_queued_job_that_is_cancelled_never_starts,
    a_scheduled_job_that_is_cancelled_never_starts,
    a_retrying_job_that_is_cancelled_never_starts_again,
    a_running_job_that_listens_is_cancelled,
    a_running_job_that_fails_when_asked_to_stop_is_cancelled,
    a_running_job_that_does_not_listen_is_aborted,
    a_running_job_whose_worker_vanished_is_cancelled,
    a_result_that_comes_in_time_counts,
    a_job_that_ended_says_so,
    an_unknown_job_says_so,
    of_cancel_and_finish_exactly_one_wins,
}

/// What comes after a message in the same lane proves that the message came.
async fn overtaken(fleet: &Fleet) {
    result(&fleet.submit([Act::Ok]).await).await;
}

async fn cancelled(job: &Job<Scripted>) {
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Cancelled);
    let error = job.wait(LONG).await.unwrap_err();
    assert!(matches!(error, WaitError::Cancelled(_)), "{error}");
}

async fn a_queued_job_that_is_cancelled_never_starts(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    cancelled(&job).await;
    let _worker = fleet.scripted_with(1).await;
    overtaken(&fleet).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Cancelled);
    assert_eq!((record.life.starts, fleet.desk.starts(job.id())), (0, 0));
}

async fn a_scheduled_job_that_is_cancelled_never_starts(fleet: Fleet) {
    let job = fleet
        .job([Act::Ok])
        .delay(Duration::from_secs(2))
        .await
        .unwrap();
    cancelled(&job).await;
    let _worker = fleet.scripted_with(1).await;
    let later = fleet
        .job([Act::Ok])
        .delay(Duration::from_secs(4))
        .await
        .unwrap();
    result(&later).await;
    assert_eq!(fleet.desk.starts(job.id()), 0);
    assert_eq!(
        fleet.find(job.id()).await.life.state.kind(),
        StateKind::Cancelled
    );
}

async fn a_retrying_job_that_is_cancelled_never_starts_again(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let backoff = Backoff::fixed(Duration::from_secs(3)).unwrap();
    let job = fleet
        .job([Act::Fail("no".into())])
        .backoff(backoff)
        .await
        .unwrap();
    // The wait has full jitter: one that is over already is another attempt, and another chance.
    loop {
        let record = fleet.reaches(job.id(), StateKind::Retrying).await;
        match job.cancel().await.unwrap() {
            CancelOutcome::Cancelled => break,
            other => assert_eq!(other, CancelOutcome::Requested, "{record:?}"),
        }
    }
    let starts = fleet.desk.starts(job.id());
    result(
        &fleet
            .job([Act::Ok])
            .delay(Duration::from_secs(5))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(fleet.desk.starts(job.id()), starts);
    assert_eq!(
        fleet.find(job.id()).await.life.state.kind(),
        StateKind::Cancelled
    );
}

async fn a_running_job_that_listens_is_cancelled(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Listen]).await;
    fleet.started(job.id(), 1).await;
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Requested);
    let record = fleet.ended(job.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Cancelled);
    assert_eq!(history(&record), [(1, Outcome::Cancelled)]);
    let how = record.attempts[0].error.as_deref();
    assert_eq!(how, Some("the handler stopped when asked"));
}

async fn a_running_job_that_does_not_listen_is_aborted(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Hang]).await;
    fleet.started(job.id(), 1).await;
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Requested);
    let record = fleet.ended(job.id()).await;
    assert_eq!(history(&record), [(1, Outcome::Cancelled)]);
    let how = record.attempts[0].error.as_deref();
    assert_eq!(
        how,
        Some("the handler did not stop when asked and was aborted")
    );
    let graced = record.attempts[0]
        .finished
        .since(record.attempts[0].started);
    assert!(graced >= Duration::from_secs(10), "{graced:?}");
}

async fn a_running_job_that_fails_when_asked_to_stop_is_cancelled(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Flinch, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Requested);
    let record = fleet.ended(job.id()).await;
    assert_eq!(history(&record), [(1, Outcome::Cancelled)]);
}

async fn a_running_job_whose_worker_vanished_is_cancelled(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let job = fleet.submit([Act::Hang, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    drop(worker);
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Requested);
    let _other = fleet.scripted().await;
    let record = fleet.ended(job.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Cancelled);
    assert_eq!(history(&record), [(1, Outcome::Lost)]);
    overtaken(&fleet).await;
    assert_eq!(fleet.desk.starts(job.id()), 1);
}

async fn a_result_that_comes_in_time_counts(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Hold]).await;
    fleet.started(job.id(), 1).await;
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Requested);
    fleet.desk.let_go(1);
    assert_eq!(result(&job).await, "done");
}

async fn a_job_that_ended_says_so(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let (good, bad) = (
        fleet.submit([Act::Ok]).await,
        fleet.submit([Act::Fatal]).await,
    );
    fleet.ended(good.id()).await;
    fleet.ended(bad.id()).await;
    let ended = CancelOutcome::Ended;
    assert_eq!(good.cancel().await.unwrap(), ended(StateKind::Succeeded));
    assert_eq!(bad.cancel().await.unwrap(), ended(StateKind::Dead));
    assert_eq!(
        fleet.find(good.id()).await.life.state.kind(),
        StateKind::Succeeded
    );
}

async fn an_unknown_job_says_so(fleet: Fleet) {
    let outcome = fleet.producer.cancel(&"nobody".parse().unwrap()).await;
    assert_eq!(outcome.unwrap(), CancelOutcome::NotFound);
}

async fn of_cancel_and_finish_exactly_one_wins(fleet: Fleet) {
    let _worker = fleet.scripted_with(8).await;
    let race = async |_| {
        let job = fleet.submit([Act::Ok]).await;
        let said = job.cancel().await.unwrap();
        let record = fleet.ended(job.id()).await;
        let (kind, starts) = (record.life.state.kind(), record.life.starts);
        match said {
            CancelOutcome::Cancelled => assert_eq!((kind, starts), (StateKind::Cancelled, 0)),
            CancelOutcome::Ended(was) => assert_eq!((was, kind), (StateKind::Succeeded, was)),
            CancelOutcome::Requested => assert!(kind.is_terminal() && starts == 1, "{record:?}"),
            CancelOutcome::NotFound => panic!("{record:?}"),
        }
        record
    };
    let ended = join_all((0..200).map(race)).await;
    overtaken(&fleet).await;
    for before in ended {
        let after = fleet.find(&before.spec.id).await.life;
        assert_eq!(
            after.version(),
            before.life.version(),
            "{:?}",
            before.spec.id
        );
    }
}
