//! Claims about records coming in, and about attempts being given out.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use haul_common::{
    job::{Backoff, HeaderValue, JobId, Lane, Reason, Record, Spec, StateKind, WorkerId, json},
    life::Life,
    ports::{Claimed, Created, Level, Store},
    time::Timestamp,
};

use super::{
    changes::{apply, finish},
    lists::counted,
};
use crate::{
    jobs::{claim, found, granted, record, running, spec},
    wait::soon,
};

/// A spec with everything in it.
pub(super) fn manifold() -> Spec {
    let mut spec = spec("images", 1);
    spec.args =
        json(&serde_json::json!({"text": "Größe 🚚 \"\\ \u{0}", "n": [1, -0.5, null]})).unwrap();
    spec.lane = Lane::Critical;
    spec.max_attempts = 17;
    spec.backoff = Backoff::list(vec![Duration::from_millis(1), Duration::from_secs(9)]).unwrap();
    spec.timeout = Some(Duration::from_millis(1234));
    spec.deadline = Some(Timestamp::from_millis(4_000_000_000_123));
    spec.retention = Some(Duration::from_millis(86_400_001));
    spec.batch = Some("batch-1".parse().unwrap());
    spec.reply_to = Some("answers, \"quoted\" 🚚".to_owned());
    spec.tags = vec!["eu".parse().unwrap(), "a'b;c:d".parse().unwrap()];
    spec.headers = BTreeMap::from([
        ("flag".to_owned(), HeaderValue::Bool(true)),
        ("most".to_owned(), HeaderValue::Int(i64::MAX)),
        ("float".to_owned(), HeaderValue::Float(2.0)),
        ("text".to_owned(), HeaderValue::Text("12".to_owned())),
    ]);
    spec
}

/// Two records are the same, all of them.
pub(super) fn assert_same(found: &Record, expected: &Record) {
    assert_eq!(format!("{found:#?}"), format!("{expected:#?}"));
}

/// A record comes out as it went in, in every state that it can begin in.
pub async fn a_record_is_found_as_it_was_created(store: &dyn Store) {
    let now = Timestamp::now();
    let mut malformed = record(spec("mail", 2));
    malformed.life = Life::stillborn(Reason::Malformed, "body: not JSON 🚚".to_owned(), now);
    malformed.raw = Some((0..=255).collect());
    let mut scheduled = record(spec("mail", 3));
    scheduled.life = Life::scheduled(now + Duration::from_secs(3600));
    let mut blocked = record(spec("mail", 4));
    blocked.life = Life::blocked();
    for expected in [record(manifold()), malformed, scheduled, blocked] {
        store.create(vec![expected.clone()]).await.unwrap();
        assert_same(&found(store, &expected.spec.id).await, &expected);
    }
}

/// The same id is the same job; with other content it is a conflict. Both leave it as it is.
pub async fn creating_twice_is_told_apart_from_a_conflict(store: &dyn Store) {
    let first = record(spec("mail", 1));
    let mut other = first.clone();
    other.spec.args = json(&"other").unwrap();
    let mut task = first.clone();
    task.spec.task = "test.other".parse().unwrap();
    let batch = vec![first.clone(), first.clone(), other.clone(), task];
    let created = store.create(batch).await.unwrap();
    let same = Created::Same(StateKind::Queued);
    assert_eq!(
        created,
        [Created::New, same, Created::Conflict, Created::Conflict]
    );
    let worker = WorkerId::random();
    granted(store.claim(claim(&first.spec, &worker)).await.unwrap());
    let before = found(store, &first.spec.id).await;
    let created = store.create(vec![other, first]).await.unwrap();
    let same = Created::Same(StateKind::Running);
    assert_eq!(created, [Created::Conflict, same]);
    assert_same(&found(store, &before.spec.id).await, &before);
}

/// A thousand in one call are answered in order.
pub async fn many_are_created_at_once(store: &dyn Store) {
    let records: Vec<_> = (0..1000).map(|n| record(spec("mail", n))).collect();
    let half: Vec<_> = records.iter().step_by(2).cloned().collect();
    let created = store.create(half).await.unwrap();
    assert_eq!(created, vec![Created::New; 500]);
    let created = store.create(records).await.unwrap();
    for (n, created) in created.into_iter().enumerate() {
        assert_eq!(created == Created::New, n % 2 == 1, "number {n}");
    }
    assert_eq!(store.create(Vec::new()).await.unwrap(), []);
}

/// A granted claim is a running record, and says what the worker has to know.
pub async fn a_claim_makes_the_job_run(store: &dyn Store) {
    let created = record(spec("mail", 1));
    let (spec, worker) = (created.spec.clone(), WorkerId::random());
    store.create(vec![created.clone()]).await.unwrap();
    let grant = granted(store.claim(claim(&spec, &worker)).await.unwrap());
    assert_eq!(grant.created, created.created);
    assert_eq!(grant.life.state.worker(), Some(&worker));
    assert_eq!((grant.life.attempt, grant.life.starts), (1, 1));
    assert!(grant.life.started.is_some());
    let now = found(store, &spec.id).await;
    assert_eq!(format!("{:?}", now.life), format!("{:?}", grant.life));
}

/// Of fifty that ask at once, one gets it.
pub async fn a_claim_is_granted_once(store: &dyn Store) {
    let spec = spec("mail", 1);
    store.create(vec![record(spec.clone())]).await.unwrap();
    let spec = &spec;
    let ask = |_| async move { store.claim(claim(spec, &WorkerId::random())).await.unwrap() };
    let answers = soon("50 claims", join_all((0..50).map(ask))).await;
    let mut winners = Vec::new();
    for answer in &answers {
        match answer {
            Claimed::Granted(grant) => winners.push(grant.life.fence),
            Claimed::Held(record) => assert_eq!(record.life.state.kind(), StateKind::Running),
            Claimed::Missing => panic!("a claim of a job that exists was told it is missing"),
        }
    }
    assert_eq!(winners, [found(store, &spec.id).await.life.fence]);
}

/// The fence grows with every claim.
pub async fn a_fence_grows_with_every_claim(store: &dyn Store) {
    let (spec, worker) = (spec("mail", 1), WorkerId::random());
    store.create(vec![record(spec.clone())]).await.unwrap();
    let mut last = 0;
    for _ in 0..20 {
        let life = granted(store.claim(claim(&spec, &worker)).await.unwrap()).life;
        assert!(life.fence.0 > last, "{} after {last}", life.fence);
        last = life.fence.0;
        apply(store, &spec.id, |life| life.release(store.now())).await;
    }
}

/// The fence grows even when the store forgot the job in between.
pub async fn a_fence_grows_across_the_loss_of_a_record(store: &dyn Store) {
    let (spec, worker) = (spec("mail", 1), WorkerId::random());
    let first = running(store, &spec, &worker).await;
    let past = Timestamp::from_millis(store.now().as_millis() - 1000);
    finish(store, &spec.id, past).await;
    while store.find(&spec.id).await.unwrap().is_some() {
        assert_ne!(store.expire(10).await.unwrap(), 0, "nothing was forgotten");
    }
    let second = running(store, &spec, &worker).await;
    assert!(
        second.fence > first.fence,
        "{} after {}",
        second.fence,
        first.fence
    );
    assert_eq!(second.starts, 1);
}

async fn held(store: &dyn Store, spec: &Spec, attempt: u32) -> Record {
    let asked = haul_common::ports::Claim {
        attempt,
        ..claim(spec, &WorkerId::random())
    };
    match store.claim(asked).await.unwrap() {
        Claimed::Held(record) => *record,
        other => panic!("should have been held: {other:?}"),
    }
}

/// What cannot be claimed like this is answered with its whole record, unchanged.
pub async fn a_claim_that_does_not_fit_is_held(store: &dyn Store) {
    let now = Timestamp::now();
    let with = |n, life| Record {
        life,
        ..record(spec("mail", n))
    };
    let lives = [
        Life::queued(),
        Life::scheduled(now + Duration::from_secs(3600)),
        Life::blocked(),
        Life::stillborn(Reason::Rejected, "no".to_owned(), now),
    ];
    for (n, life) in (0..).zip(lives) {
        let record = with(n, life);
        store.create(vec![record.clone()]).await.unwrap();
        // A queued one is held for its attempt, all others for their state too.
        let attempt = if n == 0 { 2 } else { 1 };
        assert_same(&held(store, &record.spec, attempt).await, &record);
        assert_same(&found(store, &record.spec.id).await, &record);
    }
}

/// A claim for other content than the record's is held.
pub async fn a_claim_with_another_digest_is_held(store: &dyn Store) {
    let created = record(spec("mail", 1));
    store.create(vec![created.clone()]).await.unwrap();
    let mut other = created.spec.clone();
    other.args = json(&"other").unwrap();
    assert_same(&held(store, &other, 1).await, &created);
}

/// A job that runs or has ended is held, also for the worker that has or had it.
pub async fn a_claim_of_what_runs_or_ended_is_held(store: &dyn Store) {
    let (spec, worker) = (manifold(), WorkerId::random());
    running(store, &spec, &worker).await;
    let state = held(store, &spec, 1).await.life.state;
    assert_eq!(state.worker(), Some(&worker));
    finish(store, &spec.id, Timestamp::now() + Duration::from_secs(60)).await;
    let record = held(store, &spec, 1).await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded);
    assert_same(&record, &found(store, &spec.id).await);
}

/// What was put off can be claimed once it is due, without anybody moving it.
pub async fn a_due_job_can_be_claimed(store: &dyn Store) {
    let past = Timestamp::now() + Duration::ZERO;
    let mut scheduled = record(spec("mail", 1));
    scheduled.life = Life::scheduled(Timestamp::from_millis(past.as_millis() - 5000));
    let spec = scheduled.spec.clone();
    store.create(vec![scheduled]).await.unwrap();
    let worker = WorkerId::random();
    granted(store.claim(claim(&spec, &worker)).await.unwrap());
    let due = Timestamp::from_millis(past.as_millis() - 4000);
    let stop = || crate::jobs::failed("boom");
    apply(store, &spec.id, |life| life.retry(stop(), due, store.now())).await;
    held(store, &spec, 1).await;
    let second = haul_common::ports::Claim {
        attempt: 2,
        ..claim(&spec, &worker)
    };
    let life = granted(store.claim(second).await.unwrap()).life;
    assert_eq!((life.attempt, life.starts), (2, 2));
    assert_eq!(life.error.as_deref(), Some("boom"));
}

/// A job that nobody told the store of is missing.
pub async fn an_unknown_job_is_missing(store: &dyn Store) {
    let spec = spec("mail", 1);
    let answer = store.claim(claim(&spec, &WorkerId::random())).await;
    assert!(matches!(answer.unwrap(), Claimed::Missing));
    assert!(store.find(&JobId::new()).await.unwrap().is_none());
}

/// A claim may bring the record of a job that nobody told the store of. It is as if the record had
/// been written just before: in the index of one state, in the tally of its batch.
pub async fn a_claim_writes_the_record_that_it_brings(store: &dyn Store) {
    let worker = WorkerId::random();
    let later = Life::scheduled(Timestamp::now() + Duration::from_secs(3600));
    let fits = record(manifold());
    let too_early = Record {
        life: later,
        ..record(manifold())
    };
    let bring = |record: &Record| haul_common::ports::Claim {
        record: Some(record.clone().into()),
        ..claim(&record.spec, &worker)
    };
    let grant = granted(store.claim(bring(&fits)).await.unwrap());
    assert_eq!(grant.created, fits.created);
    assert_eq!((grant.life.attempt, grant.life.starts), (1, 1));
    let runs = Record {
        life: grant.life,
        ..fits.clone()
    };
    assert_same(&found(store, &fits.spec.id).await, &runs);
    match store.claim(bring(&too_early)).await.unwrap() {
        Claimed::Held(held) => assert_same(&held, &too_early),
        other => panic!("it is not time yet: {other:?}"),
    }
    assert_same(&found(store, &too_early.spec.id).await, &too_early);

    let states = [(StateKind::Running, 1), (StateKind::Scheduled, 1)];
    let batch = fits.spec.batch.as_ref().unwrap();
    let tally = store.batch(batch).await.unwrap().unwrap();
    assert_eq!(tally.states, states.into());
    let in_queue = states.map(|(state, count)| ((fits.spec.queue.to_string(), state), count));
    assert_eq!(counted(store).await, in_queue.into());

    let same = store.create(vec![fits.clone()]).await.unwrap();
    assert_eq!(same, [Created::Same(StateKind::Running)]);
    assert_same(&found(store, &fits.spec.id).await, &runs);
}

/// Where there is a record, the one that a claim brings is not used.
pub async fn a_claim_leaves_a_record_that_is_there(store: &dyn Store) {
    let there = record(spec("mail", 1));
    store.create(vec![there.clone()]).await.unwrap();
    let mut brought = there.clone();
    brought.created = Timestamp::from_millis(1);
    brought.life.attempt = 7;
    let claim = haul_common::ports::Claim {
        record: Some(brought.into()),
        ..claim(&there.spec, &WorkerId::random())
    };
    let grant = granted(store.claim(claim).await.unwrap());
    assert_eq!((grant.created, grant.life.attempt), (there.created, 1));
}

/// The store's clock is about ours.
pub async fn the_clock_of_the_store_is_about_right(store: &dyn Store) {
    let (ours, theirs) = (Timestamp::now(), store.now());
    let apart = ours.since(theirs).max(theirs.since(ours));
    assert!(apart < Duration::from_secs(2), "{apart:?} apart");
}

/// A healthy store has findings, and none that says it loses jobs.
pub async fn a_healthy_store_is_found_healthy(store: &dyn Store) {
    let findings = store.check().await;
    assert!(!findings.is_empty());
    assert!(
        findings
            .iter()
            .all(|finding| finding.level != Level::Broken),
        "{findings:?}"
    );
}

/// What a closed store is asked is answered; it does not hang.
pub async fn a_closed_store_does_not_hang(store: &dyn Store) {
    store.close().await;
    let _ = soon("an answer", store.find(&JobId::new())).await;
    let record = record(spec("mail", 1));
    let _ = soon("an answer", store.create(vec![record])).await;
}
