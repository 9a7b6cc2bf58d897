//! One trace from a submit through its attempts to the jobs that those submit, over both pairs,
//! across processes. Needs the feature `otel`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use haul_common::job::State;
use haul_tests::{
    authority::Authority,
    collector::{Collector, attribute},
    fleet::until,
    haul_worker::{HaulWorker, command},
    site::{BOTH, Kind, Site},
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_haul-for-tests");
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;
const FAILED: i32 = 2;

fn haul(site: &Site, collector: &Collector) -> Command {
    let mut command = command(PROGRAM, site);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn children<'s>(spans: &'s [Span], parent: &Span, name: &str) -> Vec<&'s Span> {
    let is = |span: &&Span| span.parent_span_id == parent.span_id && span.name == name;
    let mut found: Vec<&Span> = spans.iter().filter(is).collect();
    found.sort_by_key(|span| span.start_time_unix_nano);
    found
}

fn child<'s>(spans: &'s [Span], parent: &Span, name: &str) -> &'s Span {
    let found = children(spans, parent, name);
    assert_eq!(found.len(), 1, "{name} below {}: {spans:#?}", parent.name);
    found[0]
}

/// A job fails once, and then submits another one and waits for it.
async fn family(site: &Site, collector: &Collector) {
    let mut worker = haul(site, collector);
    worker.args(["worker", "--queue", "default=4", "--allow-shell"]);
    let worker = HaulWorker::ready(worker).await;
    let script = format!(
        "[ \"$HAUL_ATTEMPT\" = 2 ] || exit 1; \
         '{PROGRAM}' job push haul.echo --args '\"a secret\"' --wait 30s"
    );
    let mut env: serde_json::Map<_, _> = site
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    env.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        collector.url().into(),
    );
    let args = json!({ "script": script, "env": env }).to_string();
    let mut push = haul(site, collector);
    push.args([
        "job",
        "push",
        "shell.run",
        "--backoff",
        "none",
        "--wait",
        "60s",
    ]);
    push.args(["--batch", "family", "--args", &args]);
    push.env("TRACEPARENT", parent());
    let output = push.output().await.unwrap();
    assert!(output.status.success(), "{output:?} {}", worker.log());
    let (status, log) = worker.drained().await;
    assert!(status.success() && log.contains(TRACE), "{log}");
}

/// Runs it to its end; what it printed.
async fn said(site: &Site, collector: &Collector, args: &[&str]) -> String {
    let mut command = haul(site, collector);
    command.args(args).env("TRACEPARENT", parent());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn parent() -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-01")
}

fn written(span: &Span) -> String {
    format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
}

fn of_job<'s>(spans: &'s [Span], name: &str, id: &str) -> &'s Span {
    let is = |span: &&Span| {
        span.name == name && attribute(span, "messaging.message.id").is_some_and(|of| of == id)
    };
    let found: Vec<&Span> = spans.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{name} of {id}: {spans:#?}");
    found[0]
}

fn is_one_trace(kind: Kind, spans: &[Span]) {
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) == TRACE),
        "{spans:#?}"
    );
    let root = spans
        .iter()
        .find(|span| hex(&span.parent_span_id) == "00f067aa0ba902b7")
        .unwrap();
    assert_eq!((&*root.name, root.kind), ("submit default", PRODUCER));
    assert_eq!(child(spans, root, "publish default").kind, CLIENT);

    let attempts = children(spans, root, "attempt default");
    assert_eq!(attempts.len(), 2, "{spans:#?}");
    let numbers = attempts
        .iter()
        .map(|span| attribute(span, "haul.attempt").unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), ["1", "2"]);
    let (first, second) = (attempts[0], attempts[1]);
    assert_eq!(
        (first.kind, first.status.as_ref().unwrap().code),
        (CONSUMER, FAILED)
    );
    assert_eq!(attribute(first, "error.type").unwrap(), "failed");
    assert_ne!(second.status.clone().unwrap_or_default().code, FAILED);
    // The next attempt's message.
    child(spans, first, "publish default");

    let submitted = child(spans, second, "submit default");
    child(spans, submitted, "publish default");
    let grandchild = child(spans, submitted, "attempt default");
    let system = match kind {
        Kind::Fleet => "rabbitmq",
        Kind::Embedded => "sqlite",
    };
    let id = attribute(grandchild, "messaging.message.id").unwrap();
    assert_eq!(attribute(submitted, "messaging.message.id").unwrap(), id);
    for (span, kind, name) in [
        (submitted, "create", "submit"),
        (grandchild, "process", "attempt"),
    ] {
        let is = |key: &str, value: &str| {
            assert_eq!(
                attribute(span, key).as_deref(),
                Some(value),
                "{key} of {span:#?}"
            );
        };
        is("messaging.system", system);
        is("messaging.destination.name", "default");
        is("messaging.operation.type", kind);
        is("messaging.operation.name", name);
        is("haul.task", "haul.echo");
    }
    let key = attribute(grandchild, "messaging.rabbitmq.destination.routing_key");
    assert_eq!(
        key,
        (system == "rabbitmq").then(|| "default.normal".to_owned())
    );
    assert_eq!(
        attribute(root, "messaging.message.conversation_id").unwrap(),
        "family"
    );
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_its_attempts_and_the_jobs_of_those_are_one_trace() {
    for kind in BOTH {
        let (site, collector) = (Site::of(kind).await, Collector::start().await);
        family(&site, &collector).await;
        // Everybody has sent what it had before it ended.
        is_one_trace(kind, &collector.spans());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_begins_a_trace_only_when_traces_are_on() {
    let (site, collector) = (Site::embedded().await, Collector::start().await);
    let mut silent = command(PROGRAM, &site);
    silent.args(["job", "push", "haul.echo", "--id", "silent"]);
    assert!(silent.status().await.unwrap().success());
    let record = site
        .producer
        .find(&"silent".parse().unwrap())
        .await
        .unwrap();
    assert!(record.unwrap().spec.headers.is_empty());

    let mut traced = haul(&site, &collector);
    traced.args(["job", "push", "haul.echo", "--id", "traced"]);
    assert!(traced.status().await.unwrap().success());
    until("its spans", || async { collector.spans().len() == 2 }).await;
    let record = site
        .producer
        .find(&"traced".parse().unwrap())
        .await
        .unwrap();
    let headers = record.unwrap().spec.headers;
    let spans = collector.spans();
    let submit = spans
        .iter()
        .find(|span| span.name == "submit default")
        .unwrap();
    assert_eq!(json!(headers), json!({ "traceparent": written(submit) }));
}

/// Whether a program runs it at once, or keeps it on a lease and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_pulled_has_its_attempt_in_its_trace() {
    for kind in BOTH {
        let (site, collector) = (Site::of(kind).await, Collector::start().await);
        let push = |id| ["job", "push", "email.send", "--queue", "mail", "--id", id];
        for id in ["run", "done", "failed"] {
            said(&site, &collector, &push(id)).await;
        }
        let pull = ["job", "pull", "--queue", "mail"];
        let run = ["--", "sh", "-c", "echo $TRACEPARENT"];
        said(&site, &collector, &[&pull[..], &run].concat()).await;
        let mut given = Vec::new();
        for (id, how) in [("done", "done"), ("failed", "fail")] {
            let job = said(&site, &collector, &[&pull[..], &["--print"]].concat()).await;
            let job: serde_json::Value = serde_json::from_str(&job).unwrap();
            assert_eq!(job["id"], id);
            let lease = job["lease"].as_str().unwrap();
            said(&site, &collector, &["job", how, id, "--lease", lease]).await;
            given.push(job["traceparent"].as_str().unwrap().to_owned());
        }

        let spans = collector.spans();
        let [submits, attempts] = ["submit mail", "attempt mail"]
            .map(|name| ["run", "done", "failed"].map(|id| of_job(&spans, name, id)));
        for (submit, attempt) in submits.iter().zip(attempts) {
            assert_eq!(hex(&submit.trace_id), TRACE);
            assert_eq!(attempt.parent_span_id, submit.span_id, "{spans:#?}");
            assert_eq!(attempt.kind, CONSUMER);
            assert_eq!(attribute(attempt, "haul.attempt").unwrap(), "1");
        }
        let record = site.producer.find(&"run".parse().unwrap()).await.unwrap();
        let State::Succeeded { result, .. } = record.unwrap().life.state else {
            panic!("it did not succeed");
        };
        assert_eq!(result.get(), json!(written(attempts[0])).to_string());
        assert_eq!(given, [submits[1], submits[2]].map(written));
        let status = |span: &Span| span.status.clone().unwrap_or_default().code;
        assert_eq!(attempts.map(status), [0, 0, FAILED]);
        // From when it was taken, by the process that took it, to its end in another one.
        let took = attempts[1].end_time_unix_nano - attempts[1].start_time_unix_nano;
        assert!(took > 1_000_000, "{took} ns");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_part_of_the_trace_of_whoever_starts_it() {
    let (site, collector) = (Site::embedded().await, Collector::start().await);
    let script = "echo $TRACEPARENT";
    let printed = said(&site, &collector, &["run", "sh", "-c", script, ":::", "a"]).await;
    let spans = collector.spans();
    let attempt = spans.iter().find(|span| span.name.starts_with("attempt "));
    assert_eq!(printed.trim(), written(attempt.unwrap()));
    let submit = spans.iter().find(|span| span.name.starts_with("submit "));
    assert_eq!(hex(&submit.unwrap().parent_span_id), "00f067aa0ba902b7");
}

/// One of a private authority, that wants to know who sends.
#[tokio::test(flavor = "multi_thread")]
async fn spans_go_by_tls_to_whom_the_authority_vouches_for() {
    let authority = Authority::new("the authority of this test");
    let collector = Collector::start_tls(&authority.sign("server", &["localhost"])).await;
    let (site, ours) = (
        Site::embedded().await,
        authority.sign("client", &["worker"]),
    );
    // Files go with their authority.
    let stranger = Authority::new("somebody else");
    let other = stranger.sign("other", &["worker"]);
    let push = |trusted: &std::path::Path, shown: &std::path::Path| {
        let mut push = haul(&site, &collector);
        push.args(["job", "push", "haul.echo"])
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.join("ca.pem"))
            .env(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                shown.join("cert.pem"),
            )
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", shown.join("key.pem"));
        push
    };
    for (trusted, shown) in [(&other, &ours), (&ours, &other)] {
        let output = push(trusted, shown).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(collector.spans().is_empty());
    }
    assert!(push(&ours, &ours).status().await.unwrap().success());
    assert_eq!(collector.spans().len(), 2);

    let mut wrong = push(&ours, &ours);
    wrong.env("OTEL_EXPORTER_OTLP_CERTIFICATE", "no-such-file.pem");
    let output = wrong.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: no-such-file.pem"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_no_command() {
    let site = Site::embedded().await;
    let mut push = command(PROGRAM, &site);
    push.args(["job", "push", "haul.echo"]);
    push.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let began = std::time::Instant::now();
    let output = push.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());

    let mut other = command(PROGRAM, &site);
    other.args(["job", "list"]);
    other.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    other.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let output = other.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("http/protobuf"), "{said}");
}
