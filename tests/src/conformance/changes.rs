//! Claims about transitions: compare-and-set, and all data kept.

use std::time::Duration;

use futures_util::future::join_all;
use haul_common::{
    job::{ATTEMPTS_KEPT, Fence, JobId, Outcome, Reason, Record, State, StateKind, WorkerId, json},
    life::{Illegal, Life, Step},
    ports::{Applied, Change, Claim, Kept, Note, Store},
    time::Timestamp,
};

use super::store::{assert_same, manifold};
use crate::{
    jobs::{claim, failed, found, granted, record, running, spec},
    wait::soon,
};

fn change(id: &JobId, step: Step) -> Change {
    Change {
        id: id.clone(),
        step,
        expires: Some(Timestamp::now() + Duration::from_secs(3600)),
        edit: None,
    }
}

/// Makes a transition from what is stored and applies it, which must work.
pub(super) async fn apply(
    store: &dyn Store,
    id: &JobId,
    make: impl FnOnce(&Life) -> Result<Step, Illegal>,
) -> Record {
    let step = make(&found(store, id).await.life).unwrap();
    let applied = store.apply(change(id, step)).await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
    found(store, id).await
}

/// Lets a running job succeed; its record may be forgotten at `expires`.
pub(super) async fn finish(store: &dyn Store, id: &JobId, expires: Timestamp) {
    let life = found(store, id).await.life;
    let step = life.succeed(json(&"done").unwrap(), store.now()).unwrap();
    let change = Change {
        expires: Some(expires),
        ..change(id, step)
    };
    let applied = store.apply(change).await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
}

async fn superseded(store: &dyn Store, change: Change) -> Record {
    match store.apply(change).await.unwrap() {
        Applied::Superseded(record) => *record,
        other => panic!("should have been superseded: {other:?}"),
    }
}

/// Claims attempt `attempt` of a job.
async fn start(store: &dyn Store, record: &Record, attempt: u32) {
    let asked = Claim {
        attempt,
        ..claim(&record.spec, &WorkerId::random())
    };
    granted(store.claim(asked).await.unwrap());
}

/// Applies a transition; what is found then must be what it says, to the last field.
async fn roundtrip(
    store: &dyn Store,
    id: &JobId,
    make: impl FnOnce(&Life) -> Result<Step, Illegal>,
) -> Record {
    let before = found(store, id).await;
    let step = make(&before.life).unwrap();
    let mut expected = before.clone();
    expected.life = step.life.clone();
    expected.attempts.extend(step.ended.clone());
    let applied = store.apply(change(id, step)).await.unwrap();
    assert!(matches!(applied, Applied::Done), "{applied:?}");
    let after = found(store, id).await;
    assert_same(&after, &expected);
    after
}

async fn queued(store: &dyn Store) -> Record {
    let record = record(manifold());
    store.create(vec![record.clone()]).await.unwrap();
    record
}

/// Every way to end an attempt is kept with all that it says.
pub async fn every_end_of_an_attempt_is_kept_whole(store: &dyn Store) {
    let record = queued(store).await;
    let id = &record.spec.id;
    let now = || store.now();
    let due = Timestamp::from_millis(now().as_millis() - 1000);
    start(store, &record, 1).await;
    roundtrip(store, id, |life| life.retry(failed("Größe 🚚"), due, now())).await;
    start(store, &record, 2).await;
    roundtrip(store, id, |life| life.postpone(failed("slow"), due, now())).await;
    start(store, &record, 2).await;
    roundtrip(store, id, |life| life.release(now())).await;
    start(store, &record, 2).await;
    roundtrip(store, id, |life| life.lose(now())).await;
    start(store, &record, 3).await;
    let result = json(&serde_json::json!({"rows": [1, 2.5, "🚚"]})).unwrap();
    let last = roundtrip(store, id, |life| life.succeed(result, now())).await;
    let outcomes = last.attempts.iter().map(|attempt| attempt.outcome);
    let expected = [
        Outcome::Failed,
        Outcome::Failed,
        Outcome::Released,
        Outcome::Lost,
        Outcome::Succeeded,
    ];
    assert!(outcomes.eq(expected));
    let numbers = last.attempts.iter().map(|attempt| attempt.number);
    assert!(numbers.eq([1, 2, 2, 2, 3]));
}

/// Every way to end a job badly, and to send it round again, is kept with all that it says.
pub async fn every_end_of_a_job_is_kept_whole(store: &dyn Store) {
    let record = queued(store).await;
    let id = &record.spec.id;
    let now = || store.now();
    for reason in Reason::ALL.iter().copied() {
        start(store, &record, 1).await;
        let dead = roundtrip(store, id, |life| life.die(reason, failed("x"), now())).await;
        assert_eq!(dead.life.state.reason(), Some(reason));
        roundtrip(store, id, Life::redrive).await;
    }
    start(store, &record, 1).await;
    roundtrip(store, id, |life| life.lose_for_good(now())).await;
    roundtrip(store, id, Life::redrive).await;
    start(store, &record, 1).await;
    let asked = roundtrip(store, id, Life::request_cancel).await;
    assert!(asked.life.cancel_requested);
    roundtrip(store, id, |life| {
        life.stop_cancelled("by force".into(), now())
    })
    .await;
    roundtrip(store, id, Life::redrive).await;
    roundtrip(store, id, |life| {
        life.give_up(Reason::Deadline, "late".into(), now())
    })
    .await;
}

/// What waits can be cancelled, unblocked, and fall due.
pub async fn every_change_of_a_waiting_job_is_kept_whole(store: &dyn Store) {
    let due = store.now() + Duration::from_secs(3600);
    for life in [Life::blocked(), Life::scheduled(due)] {
        let mut record = record(spec("mail", 1));
        record.life = life.clone();
        store.create(vec![record.clone()]).await.unwrap();
        let make = |life: &Life| match life.state {
            State::Blocked => life.unblock(),
            _ => life.fall_due(),
        };
        roundtrip(store, &record.spec.id, make).await;
        roundtrip(store, &record.spec.id, |life| life.cancel(store.now())).await;
    }
}

/// A slow claim made step by step, and one made again, are kept too.
pub async fn a_claim_made_as_a_transition_is_kept_whole(store: &dyn Store) {
    let record = queued(store).await;
    let (id, worker) = (&record.spec.id, WorkerId::random());
    let fence = Fence(u64::try_from(store.now().as_millis()).unwrap() * 1000);
    roundtrip(store, id, |life| life.claim(worker, fence, store.now())).await;
    let again = roundtrip(store, id, |life| life.unclaim()).await;
    assert_eq!((again.life.fence, again.life.starts), (fence, 1));
}

/// A step made from another state, attempt or fence changes nothing, and is told where the job is.
pub async fn a_step_from_elsewhere_is_superseded(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let step = life.succeed(json(&1).unwrap(), store.now()).unwrap();
    let before = found(store, &spec.id).await;
    let (mut state, mut attempt, mut fence) = (step.clone(), step.clone(), step);
    state.from.state = StateKind::Queued;
    attempt.from.attempt = 2;
    fence.from.fence.0 -= 1;
    for step in [state, attempt, fence] {
        let told = superseded(store, change(&spec.id, step)).await;
        assert_same(&told, &before);
        assert_same(&found(store, &spec.id).await, &before);
    }
}

/// The second to finish an attempt is told what the first one did.
pub async fn the_second_finisher_is_told(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let now = store.now();
    let steps = [
        life.succeed(json(&"first").unwrap(), now).unwrap(),
        life.succeed(json(&"second").unwrap(), now).unwrap(),
        life.die(Reason::Fatal, failed("third"), now).unwrap(),
        life.retry(failed("fourth"), now, now).unwrap(),
    ];
    let calls = steps.map(|step| store.apply(change(&spec.id, step)));
    let answers = soon("answers", join_all(calls)).await;
    let winner = found(store, &spec.id).await;
    let mut done = 0;
    for answer in answers {
        match answer.unwrap() {
            Applied::Done => done += 1,
            Applied::Superseded(record) => assert_same(&record, &winner),
            Applied::Missing => panic!("it is there"),
        }
    }
    assert_eq!((done, winner.attempts.len()), (1, 1));
}

/// Applying again what may have been applied does no harm.
pub async fn applying_twice_changes_once(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let step = life.succeed(json(&1).unwrap(), store.now()).unwrap();
    store.apply(change(&spec.id, step.clone())).await.unwrap();
    let told = superseded(store, change(&spec.id, step)).await;
    assert_eq!(told.life.state.kind(), StateKind::Succeeded);
    assert_eq!(found(store, &spec.id).await.attempts.len(), 1);
}

/// A job that the store does not know cannot change.
pub async fn a_step_of_an_unknown_job_is_missing(store: &dyn Store) {
    let step = Life::queued().cancel(store.now()).unwrap();
    let applied = store.apply(change(&JobId::new(), step)).await.unwrap();
    assert!(matches!(applied, Applied::Missing), "{applied:?}");
}

/// The log that an attempt is ended with goes into the history, whatever it noted before.
pub async fn an_attempt_keeps_its_log(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let note = Note {
        id: spec.id.clone(),
        fence: life.fence,
        progress: None,
        log: "one\n".to_owned(),
    };
    assert_eq!(store.note(note).await.unwrap(), Kept::Done);
    let mut step = life.release(store.now()).unwrap();
    let log = "one\nGröße 🚚";
    step.ended.as_mut().unwrap().log = log.to_owned();
    store.apply(change(&spec.id, step)).await.unwrap();
    let record = found(store, &spec.id).await;
    assert_eq!(record.attempts[0].log, log);
    start(store, &record, 1).await;
    let record = apply(store, &spec.id, |life| life.release(store.now())).await;
    let logs: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| attempt.log.as_str())
        .collect();
    assert_eq!(logs, [log, ""], "each has its own");
}

/// Of an attempt whose worker vanished, what it noted is all there is, and it stays.
pub async fn the_log_of_a_lost_attempt_stays(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let note = Note {
        id: spec.id.clone(),
        fence: life.fence,
        progress: None,
        log: "last words".to_owned(),
    };
    assert_eq!(store.note(note).await.unwrap(), Kept::Done);
    let record = apply(store, &spec.id, |life| life.lose(store.now())).await;
    assert_eq!(record.log, "last words");
}

/// The history does not grow for ever: the oldest attempts give way.
pub async fn the_history_of_attempts_is_bounded(store: &dyn Store) {
    let record = queued(store).await;
    let mut fences = Vec::new();
    for _ in 0..ATTEMPTS_KEPT + 5 {
        start(store, &record, 1).await;
        let after = apply(store, &record.spec.id, |life| life.release(store.now())).await;
        fences.push(after.life.fence);
    }
    let record = found(store, &record.spec.id).await;
    let kept: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| attempt.fence)
        .collect();
    assert_eq!(kept, fences[5..]);
    assert_eq!(record.life.starts, ATTEMPTS_KEPT + 5);
}

/// A thousand at once: each gets the answer to its own question.
pub async fn a_thousand_changes_at_once_each_get_their_answer(store: &dyn Store) {
    let records: Vec<_> = (0..1000).map(|n| record(spec("mail", n))).collect();
    // Every third is unknown to the store.
    let known = records.iter().enumerate().filter(|(n, _)| n % 3 != 0);
    let known = known.map(|(_, record)| record.clone()).collect();
    store.create(known).await.unwrap();
    let calls = records.iter().enumerate().map(|(n, record)| {
        let mut step = record.life.cancel(store.now()).unwrap();
        if n % 3 == 1 {
            step.from.attempt = 9;
        }
        store.apply(change(&record.spec.id, step))
    });
    let answers = soon("a thousand answers", join_all(calls)).await;
    for (n, (answer, record)) in answers.into_iter().zip(&records).enumerate() {
        match (n % 3, answer.unwrap()) {
            (0, Applied::Missing) | (2, Applied::Done) => {}
            (1, Applied::Superseded(told)) => assert_eq!(told.spec.id, record.spec.id),
            (_, other) => panic!("number {n}: {other:?}"),
        }
    }
}
