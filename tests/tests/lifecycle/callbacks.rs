//! Callbacks over HTTP: what is sent, and what becomes of it.

mod answers;
mod trust;

use std::time::Duration;

use haul_common::{
    job::{Backoff, Envelope, HeaderValue, Outcome, Reason, Record, Spec, StateKind, json},
    time::Timestamp,
    wire::encode,
};
use haul_producer::{Job, Submit};
use haul_tests::{
    fleet::{Fleet, history, reason, result, until},
    jobs::queue,
    receiver::{Receiver, Reply},
};
use haul_worker::{Http, Running, Shell, Task, tasks::http::HttpRequest};
use serde_json::{Value, json};

haul_tests::on_both! {
    a_callback_says_whose_it_is_and_its_answer_is_the_result,
    a_poll_costs_no_attempt_and_goes_where_the_receiver_says,
    less_is_asked_for_at_no_cost,
    a_job_that_was_given_up_starts_afresh,
    whoever_stops_a_job_stops_its_request,
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";

async fn worker(fleet: &Fleet, http: Http) -> Running {
    let change = |worker: haul_worker::Worker<_>| {
        worker
            .queue("default", 8)
            .builtins(Shell::Refused)
            .http(http)
    };
    fleet.worker(change).await
}

async fn local(fleet: &Fleet) -> Running {
    worker(fleet, Http::default().allow("loopback")).await
}

fn call<'f>(fleet: &'f Fleet, args: Value) -> Submit<'f, HttpRequest> {
    let args: HttpRequest = serde_json::from_value(args).unwrap();
    let backoff = Backoff::fixed(Duration::from_millis(100)).unwrap();
    fleet.producer.submit(args).backoff(backoff)
}

/// A call whose answers are these, with two attempts, once it has ended.
async fn called(fleet: &Fleet, replies: impl Into<Vec<Reply>>, more: Value) -> (Record, Receiver) {
    let receiver = Receiver::start(replies).await;
    let mut args = json!({"url": receiver.url("/")});
    args.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let job = call(fleet, args).attempts(2).await.unwrap();
    (fleet.ended(job.id()).await, receiver)
}

fn ok() -> Reply {
    Reply::of(200, &[], "done")
}

async fn a_callback_says_whose_it_is_and_its_answer_is_the_result(fleet: Fleet) {
    let http = Http::default().allow("loopback");
    let http = http
        .sign_with(b"the new key of two")
        .sign_with(b"the old key of two\n");
    let _worker = worker(&fleet, http).await;
    let head = [
        "content-type: application/json",
        "x-node: 7",
        "set-cookie: secret=1",
    ];
    let receiver = Receiver::start([Reply::of(201, &head, r#"{"n": 1.50}"#)]).await;
    let args = json!({"url": receiver.url("/hook?a=b"), "json": {"hello": "wörld"},
        "headers": {"Authorization": "Bearer x"}, "timeout_ms": 20_000});
    let mut spec = Spec::new(
        HttpRequest::NAME.parse().unwrap(),
        queue("default"),
        json(&args).unwrap(),
    );
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = (
        "traceparent".to_owned(),
        HeaderValue::Text(trace.to_owned()),
    );
    spec.headers.extend([traced]);
    spec.deadline = Some(Timestamp::now() + Duration::from_secs(10));
    fleet
        .post(encode(&Envelope::first(spec.clone(), None)))
        .await;
    let job: Job<HttpRequest> = fleet.producer.job(spec.id.clone());
    fleet.ended(&spec.id).await;
    let answer = result(&job).await;
    assert_eq!(
        (answer.status, answer.json.unwrap().get()),
        (201, r#"{"n": 1.50}"#)
    );
    assert_eq!(answer.headers["x-node"], "7");
    assert!(!answer.headers.contains_key("set-cookie"));

    let [asked] = &receiver.asked()[..] else {
        panic!("asked once")
    };
    assert_eq!(asked.line, "POST /hook?a=b");
    assert_eq!(asked.body, r#"{"hello":"wörld"}"#.as_bytes());
    let said = |name: &str| asked.headers[name].as_str();
    assert_eq!(said("content-type"), "application/json");
    assert_eq!(said("authorization"), "Bearer x");
    assert_eq!(
        (said("idempotency-key"), said("haul-job-id")),
        (&*spec.id, &*spec.id)
    );
    assert_eq!((said("haul-attempt"), said("traceparent")), ("1", trace));
    let left: u64 = said("haul-deadline-ms").parse().unwrap();
    assert!((1..=10_000).contains(&left), "{left}");
    let parts: Vec<&str> = said("haul-signature").split(',').collect();
    assert!(
        parts.len() == 3 && parts[0].starts_with("t=") && parts[1] != parts[2],
        "{parts:?}"
    );
    assert!(
        parts[1..]
            .iter()
            .all(|part| part.starts_with("v1=") && part.len() == 67)
    );

    let record = fleet.find(&spec.id).await;
    let log = &record.attempts[0].log;
    for part in ["POST http://localhost", "→ 201", " ms\n", "  x-node: 7\n"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

async fn less_is_asked_for_at_no_cost(fleet: Fleet) {
    let _worker = local(&fleet).await;
    let replies = [
        Reply::of(429, &["retry-after: 2"], ""),
        Reply::of(503, &[], ""),
        ok(),
    ];
    let receiver = Receiver::start(replies).await;
    let args = || json!({"url": receiver.url("/")});
    let job = call(&fleet, args()).attempts(1).await.unwrap();
    until("the first answer", || async { receiver.asked().len() == 1 }).await;
    fleet.reaches(job.id(), StateKind::Retrying).await;
    // The queue waits too.
    let other = fleet
        .producer
        .submit(haul_worker::tasks::echo::Echo(json(&1).unwrap()));
    let other = other.await.unwrap();
    result(&job).await;
    let record = fleet.find(job.id()).await;
    let ends = [Outcome::Failed, Outcome::Failed, Outcome::Succeeded];
    assert_eq!(history(&record), ends.map(|end| (1, end)));
    let other = fleet.ended(other.id()).await;
    let waited = other.attempts[0].started.since(record.attempts[0].finished);
    assert!(waited >= Duration::from_millis(1500), "{waited:?}");
    // Whoever is not patient has it counted.
    let receiver = Receiver::start([Reply::of(503, &["retry-after: 1"], "")]).await;
    let args = json!({"url": receiver.url("/"), "patience_ms": 0});
    let job = call(&fleet, args).attempts(2).await.unwrap();
    let record = fleet.ended(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Failed), (2, Outcome::Failed)]
    );
    assert_eq!(reason(&record), Reason::Exhausted);
}

async fn a_poll_costs_no_attempt_and_goes_where_the_receiver_says(fleet: Fleet) {
    let http = Http::default()
        .allow("localhost")
        .sign_with(b"a key of sixteen");
    let _worker = worker(&fleet, http).await;
    let there = Receiver::start([
        Reply::of(202, &["haul-poll: true", "retry-after: 1"], "half"),
        Reply::of(200, &[], "done"),
    ])
    .await;
    let away = format!("haul-poll: {}", there.url("/jobs/1"));
    let here = Receiver::start([
        Reply::of(202, &["haul-poll: /status?n=1", "retry-after: 1"], ""),
        Reply::of(202, &[&away, "retry-after: 1"], ""),
    ])
    .await;
    let args = json!({"url": here.url("/"), "json": 1, "headers": {"x-key": "secret"}});
    let job = call(&fleet, args).attempts(1).await.unwrap();
    assert_eq!(result(&job).await.body.unwrap(), "done");
    let record = fleet.find(job.id()).await;
    let ends = [
        Outcome::Released,
        Outcome::Released,
        Outcome::Released,
        Outcome::Succeeded,
    ];
    assert_eq!(history(&record), ends.map(|end| (1, end)));
    let error = record.attempts[2].error.as_deref().unwrap();
    assert_eq!(error, "not done yet: 202 Accepted: half");
    let (here, there) = (here.asked(), there.asked());
    let lines = |asked: &[haul_tests::receiver::Asked]| -> Vec<String> {
        asked.iter().map(|asked| asked.line.clone()).collect()
    };
    assert_eq!(lines(&here), ["POST /", "GET /status?n=1"]);
    assert_eq!(lines(&there), ["GET /jobs/1", "GET /jobs/1"]);
    // At home it is known who asks; elsewhere nothing of the job's own headers is told.
    assert_eq!(here[1].headers["x-key"], "secret");
    for asked in &there {
        assert!(!asked.headers.contains_key("x-key"), "{asked:?}");
        assert!(asked.headers.contains_key("haul-signature") && asked.body.is_empty());
    }
}

async fn a_job_that_was_given_up_starts_afresh(fleet: Fleet) {
    let _worker = local(&fleet).await;
    let receiver = Receiver::start([
        Reply::of(202, &["haul-poll: /status", "retry-after: 1"], ""),
        Reply::of(404, &[], ""),
        Reply::of(202, &["haul-poll: http://10.0.0.1/", "retry-after: 1"], ""),
        ok(),
    ])
    .await;
    let args = json!({"url": receiver.url("/"), "method": "put"});
    let job = call(&fleet, args).await.unwrap();
    let record = fleet.ended(job.id()).await;
    assert_eq!(reason(&record), Reason::Fatal);
    fleet.producer.retry(job.id()).await.unwrap();
    // What a receiver names is guarded as what a job names.
    let refused = fleet.once(job.id(), "the second end", |record| {
        record.life.state.kind() == StateKind::Dead && record.attempts.len() == 4
    });
    let error = refused.await.life.error.unwrap();
    assert!(
        error.starts_with("10.0.0.1 is at a private address"),
        "{error}"
    );
    fleet.producer.retry(job.id()).await.unwrap();
    result(&job).await;
    let lines: Vec<String> = receiver
        .asked()
        .into_iter()
        .map(|asked| asked.line)
        .collect();
    assert_eq!(lines, ["PUT /", "GET /status", "PUT /", "PUT /"]);
}

async fn whoever_stops_a_job_stops_its_request(fleet: Fleet) {
    let _worker = local(&fleet).await;
    let receiver = Receiver::start([Reply::Silence(OK)]).await;
    let args = || json!({"url": receiver.url("/")});
    let cancelled = call(&fleet, args()).await.unwrap();
    let late = call(&fleet, args())
        .attempts(1)
        .timeout(Duration::from_secs(2));
    let late = late.await.unwrap();
    let over = call(&fleet, args()).deadline(Timestamp::now() + Duration::from_secs(3));
    let over = over.await.unwrap();
    until("three requests", || async { receiver.asked().len() == 3 }).await;
    fleet.producer.cancel(cancelled.id()).await.unwrap();
    assert_eq!(
        fleet.ended(cancelled.id()).await.life.state.kind(),
        StateKind::Cancelled
    );
    let record = fleet.ended(late.id()).await;
    assert_eq!(history(&record), [(1, Outcome::TimedOut)]);
    assert_eq!(reason(&fleet.ended(over.id()).await), Reason::Deadline);
    until("all connections to be closed", || async {
        receiver.hung_up() == 3
    })
    .await;
}
