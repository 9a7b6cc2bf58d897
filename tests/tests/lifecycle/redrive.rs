//! Jobs that are sent round again.

use haul_common::{
    job::{Outcome, Reason, StateKind},
    protocol::RedriveOutcome,
};
use haul_tests::{
    fleet::{Fleet, history, reason, result},
    jobs::message,
    scripted::Act,
};

haul_tests::on_both! {
    a_dead_job_runs_again_with_fresh_attempts,
    a_cancelled_job_runs_again,
    a_job_that_has_not_ended_badly_is_not_sent_again,
    a_malformed_message_cannot_be_sent_again,
    a_job_that_is_sent_again_twice_runs_once,
    an_unknown_job_says_so,
}

async fn a_dead_job_runs_again_with_fresh_attempts(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let no = || Act::Fail("no".into());
    let job = fleet
        .job([no(), no(), no(), Act::Ok])
        .attempts(2)
        .await
        .unwrap();
    assert_eq!(reason(&fleet.ended(job.id()).await), Reason::Exhausted);
    assert_eq!(job.retry().await.unwrap(), RedriveOutcome::Queued);
    assert_eq!(result(&job).await, "done");
    let record = fleet.find(job.id()).await;
    let failed = |n| (n, Outcome::Failed);
    let all = [failed(1), failed(2), failed(1), (2, Outcome::Succeeded)];
    assert_eq!(history(&record), all);
    assert!(record.attempts.is_sorted_by_key(|attempt| attempt.fence));
}

async fn a_cancelled_job_runs_again(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    job.cancel().await.unwrap();
    assert_eq!(job.retry().await.unwrap(), RedriveOutcome::Queued);
    let _worker = fleet.scripted().await;
    assert_eq!(result(&job).await, "done");
    result(&fleet.submit([Act::Ok]).await).await;
    assert_eq!(fleet.desk.starts(job.id()), 1);
}

async fn a_job_that_has_not_ended_badly_is_not_sent_again(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    let not = RedriveOutcome::NotEnded;
    assert_eq!(job.retry().await.unwrap(), not(StateKind::Queued));
    let _worker = fleet.scripted().await;
    result(&job).await;
    assert_eq!(job.retry().await.unwrap(), not(StateKind::Succeeded));
}

async fn a_malformed_message_cannot_be_sent_again(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let mut wrong = message("default", 1);
    wrong.body = "{".into();
    let id = wrong.head.message_id.clone().unwrap().parse().unwrap();
    fleet.post(wrong).await;
    fleet.ended(&id).await;
    let outcome = fleet.producer.retry(&id).await.unwrap();
    assert_eq!(outcome, RedriveOutcome::Unreadable);
    assert_eq!(reason(&fleet.find(&id).await), Reason::Malformed);
}

async fn a_job_that_is_sent_again_twice_runs_once(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let job = fleet.submit([Act::Fatal, Act::Ok]).await;
    fleet.ended(job.id()).await;
    worker.drain();
    worker.finished().await.unwrap();
    let (one, two) = tokio::join!(job.retry(), job.retry());
    for outcome in [one.unwrap(), two.unwrap()] {
        let not = RedriveOutcome::NotEnded(StateKind::Queued);
        assert!(
            [RedriveOutcome::Queued, not].contains(&outcome),
            "{outcome:?}"
        );
    }
    let _worker = fleet.scripted_with(1).await;
    result(&job).await;
    result(&fleet.submit([Act::Ok]).await).await;
    assert_eq!(fleet.desk.starts(job.id()), 2);
}

async fn an_unknown_job_says_so(fleet: Fleet) {
    let outcome = fleet.producer.retry(&"nobody".parse().unwrap()).await;
    assert_eq!(outcome.unwrap(), RedriveOutcome::NotFound);
}
