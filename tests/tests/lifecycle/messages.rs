//! Messages that come twice, late, from strangers, or broken.

use std::time::Duration;

use bytes::Bytes;
use haul_common::{
    job::{Envelope, HeaderValue, JobId, Lane, Outcome, Reason, Spec, StateKind, json},
    ports::Route,
    protocol::CancelOutcome,
    time::Timestamp,
    wire::{Message, encode},
};
use haul_tests::{
    fleet::{Fleet, history, reason, result, until},
    jobs::{message, queue},
    scripted::{Act, Scripted},
};

haul_tests::on_both! {
    a_message_that_comes_twice_runs_once,
    messages_that_come_twice_at_once_run_once,
    an_end_that_comes_too_late_does_not_count,
    a_stale_message_does_not_run_an_attempt_that_ended,
    a_message_of_an_earlier_attempt_does_not_start_the_next_one_early,
    a_message_of_a_later_attempt_is_believed,
    a_message_of_a_cancelled_job_is_dropped,
    a_message_whose_record_is_gone_runs,
    a_message_without_an_id_gets_one,
    a_message_before_its_time_is_put_off,
    a_body_that_is_no_job_is_kept_as_dead,
    a_head_that_is_no_job_is_kept_as_dead,
    a_message_with_a_taken_id_is_kept_as_a_dead_letter,
    what_is_malformed_keeps_its_bytes,
}

fn spec(acts: impl Into<Vec<Act>>) -> Spec {
    let args = Scripted {
        name: "done".into(),
        acts: acts.into(),
    };
    Spec::new(
        "test.scripted".parse().unwrap(),
        queue("default"),
        json(&args).unwrap(),
    )
}

fn first(spec: &Spec) -> Message {
    encode(&Envelope::first(spec.clone(), None))
}

/// The lane is worked in order: what comes after a message proves that it came.
async fn all_came(fleet: &Fleet) {
    result(&fleet.submit([Act::Ok]).await).await;
}

async fn succeeds(fleet: &Fleet, id: &JobId) {
    let record = fleet.ended(id).await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded, "{record:?}");
}

async fn a_message_that_comes_twice_runs_once(fleet: Fleet) {
    let spec = spec([Act::Ok]);
    for _ in 0..3 {
        fleet.post(first(&spec)).await;
    }
    let _worker = fleet.scripted_with(1).await;
    succeeds(&fleet, &spec.id).await;
    fleet.post(first(&spec)).await;
    all_came(&fleet).await;
    assert_eq!(fleet.desk.starts(&spec.id), 1);
    assert_eq!(
        history(&fleet.find(&spec.id).await),
        [(1, Outcome::Succeeded)]
    );
}

async fn messages_that_come_twice_at_once_run_once(fleet: Fleet) {
    let specs: Vec<_> = (0..50).map(|_| spec([Act::Ok])).collect();
    for spec in specs.iter().chain(&specs).chain(&specs) {
        fleet.post(first(spec)).await;
    }
    let _workers = (fleet.scripted().await, fleet.scripted().await);
    for spec in &specs {
        succeeds(&fleet, &spec.id).await;
    }
    fleet.ready(Lane::Normal, 0).await;
    all_came(&fleet).await;
    for spec in &specs {
        assert_eq!(fleet.desk.starts(&spec.id), 1);
    }
}

/// Somebody took the job over while its first attempt still ran.
async fn an_end_that_comes_too_late_does_not_count(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let job = fleet.submit([Act::Hold, Act::Fatal]).await;
    fleet.started(job.id(), 1).await;
    let now = fleet.backend().store.now();
    fleet.apply(job.id(), |life| life.lose(now)).await;
    let record = fleet.find(job.id()).await;
    let mut second = Envelope::first(record.spec, None);
    (second.attempt, second.fence) = (2, record.life.fence);
    let _other = fleet.scripted().await;
    fleet.post(encode(&second)).await;
    let ended = fleet.ended(job.id()).await;
    fleet.desk.let_go(1);
    all_came(&fleet).await;
    assert_eq!(reason(&ended), Reason::Fatal);
    let after = fleet.find(job.id()).await;
    assert_eq!(after.life.version(), ended.life.version());
    assert_eq!(history(&after), [(1, Outcome::Lost), (2, Outcome::Failed)]);
}

async fn a_stale_message_does_not_run_an_attempt_that_ended(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let spec = spec([Act::RetryAfter(10), Act::RetryAfter(10), Act::Ok]);
    fleet.post(first(&spec)).await;
    succeeds(&fleet, &spec.id).await;
    for attempt in [1, 2, 3] {
        let mut stale = Envelope::first(spec.clone(), None);
        stale.attempt = attempt;
        fleet.post(encode(&stale)).await;
    }
    all_came(&fleet).await;
    assert_eq!(fleet.desk.starts(&spec.id), 3);
}

async fn a_message_of_an_earlier_attempt_does_not_start_the_next_one_early(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let spec = spec([Act::RetryAfter(4000), Act::Ok]);
    fleet.post(first(&spec)).await;
    fleet.reaches(&spec.id, StateKind::Retrying).await;
    fleet.post(first(&spec)).await;
    succeeds(&fleet, &spec.id).await;
    let record = fleet.find(&spec.id).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Failed), (2, Outcome::Succeeded)]
    );
    let waited = record.attempts[1]
        .started
        .since(record.attempts[0].finished);
    assert!(waited >= Duration::from_millis(3900), "{waited:?}");
}

/// A confirmed message of attempt 3 proves that two ended, whatever the store has lost.
async fn a_message_of_a_later_attempt_is_believed(fleet: Fleet) {
    let spec = spec([Act::Ok]);
    let mut third = Envelope::first(spec.clone(), None);
    third.attempt = 3;
    fleet.post(encode(&third)).await;
    let _worker = fleet.scripted_with(1).await;
    succeeds(&fleet, &spec.id).await;
    assert_eq!(
        history(&fleet.find(&spec.id).await),
        [(3, Outcome::Succeeded)]
    );
}

async fn a_message_of_a_cancelled_job_is_dropped(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    assert_eq!(job.cancel().await.unwrap(), CancelOutcome::Cancelled);
    let record = fleet.find(job.id()).await;
    fleet.post(first(&record.spec)).await;
    let _worker = fleet.scripted_with(1).await;
    all_came(&fleet).await;
    assert_eq!(fleet.desk.starts(job.id()), 0);
}

async fn a_message_whose_record_is_gone_runs(fleet: Fleet) {
    let worker = fleet.scripted_with(1).await;
    let job = fleet
        .job([Act::Ok])
        .retention(Duration::ZERO)
        .await
        .unwrap();
    until("it ran", || async { fleet.desk.starts(job.id()) == 1 }).await;
    until("its record is gone", || async {
        fleet.backend().store.expire(100).await.unwrap();
        job.find().await.unwrap().is_none()
    })
    .await;
    let args = Scripted {
        name: "done".into(),
        acts: vec![Act::Ok],
    };
    let mut again = spec([Act::Ok]);
    (again.id, again.args) = (job.id().clone(), json(&args).unwrap());
    fleet.post(first(&again)).await;
    succeeds(&fleet, job.id()).await;
    assert_eq!(fleet.desk.starts(job.id()), 2);
    drop(worker);
}

async fn a_message_without_an_id_gets_one(fleet: Fleet) {
    let mut nameless = first(&spec([Act::Ok]));
    nameless.head.message_id = None;
    fleet.post(nameless).await;
    let _worker = fleet.scripted_with(1).await;
    until("it ran", || async { fleet.desk.all() == ["done"] }).await;
    all_came(&fleet).await;
    assert_eq!(fleet.desk.all().len(), 2);
    let counts = fleet.producer.counts().await.unwrap();
    assert_eq!(counts[0].states.values().sum::<u64>(), 2);
}

async fn a_message_before_its_time_is_put_off(fleet: Fleet) {
    let _worker = fleet.scripted_with(1).await;
    let (due, ms) = (Timestamp::now() + Duration::from_secs(3), 3000);
    let specs = [spec([Act::Ok]), spec([Act::Ok])];
    let mut headers = [first(&specs[0]), first(&specs[1])];
    let text = HeaderValue::Text(due.to_string());
    headers[0].head.headers.insert("run_at".into(), text);
    headers[1]
        .head
        .headers
        .insert("delay_ms".into(), HeaderValue::Int(ms));
    for message in headers {
        fleet.post(message).await;
    }
    for spec in specs {
        succeeds(&fleet, &spec.id).await;
        let early = due.since(fleet.find(&spec.id).await.life.started.unwrap());
        assert!(early <= Duration::from_millis(200), "{early:?} early");
    }
}

/// Each becomes a dead job that says what is wrong; the worker goes on.
async fn malformed(fleet: &Fleet, wrong: Vec<(&str, Message)>) {
    let _worker = fleet.scripted().await;
    for (_, message) in &wrong {
        fleet.post(message.clone()).await;
    }
    for (hint, message) in &wrong {
        let id = message.head.message_id.as_deref().unwrap().parse().unwrap();
        let record = fleet.ended(&id).await;
        assert_eq!(reason(&record), Reason::Malformed, "{hint}");
        let error = record.life.error.unwrap();
        assert!(error.contains(hint), "{hint}: {error}");
    }
    all_came(fleet).await;
    let count = wrong.len() as u64;
    until("their dead letters", || async {
        fleet.dead_letters().await == count
    })
    .await;
}

async fn a_body_that_is_no_job_is_kept_as_dead(fleet: Fleet) {
    let with = |body: Vec<u8>| Message {
        body: Bytes::from(body),
        ..message("default", 1)
    };
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let wrong = vec![
        ("body: not JSON", with(b"not json".to_vec())),
        ("body: not JSON", with(Vec::new())),
        ("body: not JSON", with(b"{\"n\":1} x".to_vec())),
        ("body: not JSON", with(b"NaN".to_vec())),
        ("body: 10485760 bytes", with(vec![b'1'; 10 * 1024 * 1024])),
        ("body: nested deeper", with(deep.into_bytes())),
        ("body: invalid utf-8", with(vec![b'"', 0xff, b'"'])),
    ];
    malformed(&fleet, wrong).await;
}

async fn a_head_that_is_no_job_is_kept_as_dead(fleet: Fleet) {
    let kind = |kind: Option<&str>| {
        let mut message = message("default", 1);
        message.head.kind = kind.map(str::to_owned);
        message
    };
    let header = |name: &str, value: HeaderValue| {
        let mut message = message("default", 1);
        message.head.headers.insert(name.to_owned(), value);
        message
    };
    let (int, text) = (HeaderValue::Int, |text: &str| {
        HeaderValue::Text(text.to_owned())
    });
    let wrong = vec![
        ("type: missing", kind(None)),
        ("type: `No Task` is not a task name", kind(Some("No Task"))),
        ("attempt", header("attempt", int(-1))),
        ("attempt: must be 1 to 1000", header("attempt", int(0))),
        ("attempt: must be 1 to 1000", header("attempt", int(1001))),
        ("fence", header("fence", int(i64::MAX))),
        ("max_attempts", header("max_attempts", int(-5))),
        ("it must be 1 to 1000", header("max_attempts", int(5000))),
        ("timeout_ms", header("timeout_ms", int(i64::MIN))),
        ("time-out of zero", header("timeout_ms", int(0))),
        ("timeout_ms", header("timeout_ms", HeaderValue::Float(1.5))),
        (
            "run_at: `soon` is not a time",
            header("run_at", text("soon")),
        ),
        ("run_at: must be text", header("run_at", int(5))),
        (
            "deadline",
            header("deadline", text("9999999-01-01T00:00:00Z")),
        ),
        ("delay_ms", header("delay_ms", int(-1))),
        ("backoff", header("backoff", text("fixed(-1s)"))),
        ("tags", header("tags", text("a b"))),
    ];
    malformed(&fleet, wrong).await;
}

async fn a_message_with_a_taken_id_is_kept_as_a_dead_letter(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Ok]).await;
    result(&job).await;
    let mut other = spec([Act::Fatal]);
    other.id = job.id().clone();
    fleet.post(first(&other)).await;
    until("its dead letter", || async {
        fleet.dead_letters().await == 1
    })
    .await;
    let record = fleet.find(job.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded);
    assert_eq!(fleet.desk.starts(job.id()), 1);
}

async fn what_is_malformed_keeps_its_bytes(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let body = Bytes::from_static(b"\x00\xff{ not json \xf0\x9f");
    let wrong = Message {
        body: body.clone(),
        ..message("default", 1)
    };
    let id = wrong.head.message_id.as_deref().unwrap().parse().unwrap();
    let lane = Lane::High;
    fleet
        .publish(wrong, Route::Lane(queue("default"), lane))
        .await;
    let record = fleet.ended(&id).await;
    assert_eq!(record.raw.as_deref(), Some(&*body));
    assert_eq!((&*record.spec.task, record.spec.lane), ("test.count", lane));
}
