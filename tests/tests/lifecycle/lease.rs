//! Jobs that a program outside has on a lease.

use std::time::Duration;

use haul_common::{
    job::{Failure, JobId, Lane, Outcome, Reason, StateKind, json},
    life::Ended,
    protocol::{LeaseError, LeaseToken, Leased, Protocol, Settled},
};
use haul_producer::CancelOutcome;
use haul_tests::{
    fleet::{Fleet, LONG, history, reason, result, until},
    jobs::queue,
    scripted::{Act, Scripted},
};
use haul_worker::lease::take;

haul_tests::on_both! {
    a_leased_job_is_settled_by_its_token_once,
    a_lease_of_another_job_does_not_hold,
    a_lease_that_runs_out_gives_the_job_back,
    a_lease_that_runs_out_is_noticed_by_whoever_pulls_next,
    a_lease_that_was_extended_holds,
    a_job_that_failed_on_a_lease_goes_on_as_every_job,
    a_leased_job_that_was_asked_to_stop_is_told_so,
    an_end_that_comes_late_counts_while_nobody_else_has_the_job,
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn protocol(fleet: &Fleet) -> Protocol {
    Protocol::new(fleet.backend().clone())
}

async fn try_take(fleet: &Fleet, lease: Duration, wait: Duration) -> Option<Leased> {
    take(&protocol(fleet), &queue("default"), lease, wait)
        .await
        .unwrap()
}

/// Submits a job and takes it.
async fn leased(fleet: &Fleet, lease: Duration) -> (JobId, LeaseToken) {
    let job = fleet.submit([Act::Ok]).await;
    let leased = try_take(fleet, lease, LONG).await.unwrap();
    assert_eq!(&leased.assignment.spec.id, job.id());
    (job.id().clone(), leased.token)
}

async fn done(fleet: &Fleet, id: &JobId, token: &LeaseToken) -> Result<Settled, LeaseError> {
    let ended = Ended::Succeeded(json("by hand").unwrap());
    protocol(fleet).settle_lease(id, token, ended).await
}

async fn fail(fleet: &Fleet, id: &JobId, token: &LeaseToken, with: Failure) -> Settled {
    protocol(fleet)
        .settle_lease(id, token, Ended::Failed(with))
        .await
        .unwrap()
}

fn words<T: std::fmt::Debug>(refused: Result<T, LeaseError>) -> String {
    match refused {
        Err(error @ LeaseError::Over { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

const fn settled(state: StateKind, before: bool) -> Settled {
    Settled { state, before }
}

async fn a_leased_job_is_settled_by_its_token_once(fleet: Fleet) {
    let (id, token) = leased(&fleet, MINUTE).await;
    assert!(try_take(&fleet, MINUTE, Duration::ZERO).await.is_none());
    let record = fleet.find(&id).await;
    assert_eq!(record.life.state.kind(), StateKind::Running);
    assert!(record.life.state.worker().unwrap().is_lease());
    let first = done(&fleet, &id, &token).await.unwrap();
    assert_eq!(first, settled(StateKind::Succeeded, false));
    let again = done(&fleet, &id, &token).await.unwrap();
    assert_eq!(again, settled(StateKind::Succeeded, true));
    let late = protocol(&fleet).extend(&id, &token, MINUTE).await;
    assert!(words(late).contains("ended as succeeded"));
    assert_eq!(
        history(&fleet.find(&id).await),
        [(1, Outcome::Succeeded)],
        "once"
    );
    fleet.ready(Lane::Normal, 0).await;
}

async fn a_lease_of_another_job_does_not_hold(fleet: Fleet) {
    let (_, token) = leased(&fleet, MINUTE).await;
    let waiting = fleet.submit([Act::Ok]).await;
    let wrong = words(done(&fleet, waiting.id(), &token).await);
    assert!(wrong.contains("not for any attempt"), "{wrong}");
    let record = fleet.find(waiting.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Queued);
    let nobody = done(&fleet, &JobId::new(), &token).await;
    assert!(matches!(nobody, Err(LeaseError::NotFound(_))), "{nobody:?}");
}

async fn a_lease_that_runs_out_gives_the_job_back(fleet: Fleet) {
    let (id, token) = leased(&fleet, SECOND).await;
    let _worker = fleet.scripted().await;
    result::<Scripted>(&fleet.producer.job(id.clone())).await;
    let record = fleet.find(&id).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Lost), (2, Outcome::Succeeded)]
    );
    let error = record.attempts[0].error.as_deref();
    assert_eq!(error, Some("its lease ran out"));
    let late = words(done(&fleet, &id, &token).await);
    assert!(
        late.contains("ran out") && late.contains("is succeeded, attempt 2"),
        "{late}"
    );
}

async fn a_lease_that_runs_out_is_noticed_by_whoever_pulls_next(fleet: Fleet) {
    let (id, token) = leased(&fleet, SECOND).await;
    until("the job to come back", || async {
        try_take(&fleet, MINUTE, Duration::ZERO).await.is_some()
    })
    .await;
    assert_eq!(history(&fleet.find(&id).await), [(1, Outcome::Lost)]);
    assert!(words(done(&fleet, &id, &token).await).contains("is running, attempt 2"));
}

async fn a_lease_that_was_extended_holds(fleet: Fleet) {
    let (kept, token) = leased(&fleet, SECOND * 3).await;
    let (over, _) = leased(&fleet, SECOND * 3).await;
    let extended = protocol(&fleet).extend(&kept, &token, MINUTE).await;
    assert!(!extended.unwrap().cancel_requested);
    let _worker = fleet.scripted().await;
    result::<Scripted>(&fleet.producer.job(over)).await;
    // Its first lease would have ended before that of the other job.
    let record = fleet.find(&kept).await;
    assert_eq!(record.life.state.kind(), StateKind::Running);
    done(&fleet, &kept, &token).await.unwrap();
    assert_eq!(fleet.desk.starts(&kept), 0);
}

async fn a_job_that_failed_on_a_lease_goes_on_as_every_job(fleet: Fleet) {
    let (id, token) = leased(&fleet, MINUTE).await;
    let failed = fail(&fleet, &id, &token, Failure::retry("no luck")).await;
    assert_eq!(failed, settled(StateKind::Retrying, false));
    let again = fail(&fleet, &id, &token, Failure::retry("no luck")).await;
    assert!(again.before);
    let second = try_take(&fleet, MINUTE, LONG).await.unwrap();
    assert_eq!(second.assignment.life.attempt, 2);
    assert!(words(done(&fleet, &id, &token).await).contains("ended as failed"));
    let fatal = fail(&fleet, &id, &second.token, Failure::fatal("hopeless")).await;
    assert_eq!(fatal, settled(StateKind::Dead, false));
    let record = fleet.find(&id).await;
    assert_eq!(reason(&record), Reason::Fatal);
    assert_eq!(
        history(&record),
        [(1, Outcome::Failed), (2, Outcome::Failed)]
    );
    until("its dead letter", || async {
        fleet.dead_letters().await == 1
    })
    .await;
}

async fn a_leased_job_that_was_asked_to_stop_is_told_so(fleet: Fleet) {
    for stops in [true, false] {
        let (id, token) = leased(&fleet, MINUTE).await;
        let cancelled = fleet.producer.cancel(&id).await.unwrap();
        assert_eq!(cancelled, CancelOutcome::Requested);
        let extended = protocol(&fleet).extend(&id, &token, MINUTE).await;
        assert!(extended.unwrap().cancel_requested);
        let state = if stops {
            fail(&fleet, &id, &token, Failure::retry("stopped")).await
        } else {
            done(&fleet, &id, &token).await.unwrap()
        };
        let expected = if stops {
            StateKind::Cancelled
        } else {
            StateKind::Succeeded
        };
        assert_eq!(state, settled(expected, false));
    }
}

async fn an_end_that_comes_late_counts_while_nobody_else_has_the_job(fleet: Fleet) {
    let (id, token) = leased(&fleet, SECOND).await;
    let holder = fleet.find(&id).await.life.state.worker().cloned().unwrap();
    until("the lease to run out", || async {
        let store = &fleet.backend().store;
        !store.is_alive(&holder, false).await.unwrap()
    })
    .await;
    let late = protocol(&fleet).extend(&id, &token, MINUTE).await;
    assert!(words(late).contains("it ran out"));
    let end = done(&fleet, &id, &token).await.unwrap();
    assert_eq!(end, settled(StateKind::Succeeded, false));
}
