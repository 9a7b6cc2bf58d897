//! What is in the log, and above all what is not.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeMap;

use haul_common::{
    filter::Filter,
    job::{HeaderValue, Lane, Spec, json},
    ports::{Confirm, PageRequest, Publication, Route},
    wire::Message,
};
use haul_producer::Submission;
use haul_tests::{
    fleet::until,
    haul_worker::{HaulWorker, command},
    jobs::{message, queue},
    site::{BOTH, Kind, Site},
};
use serde_json::{Value, json as value};

const PROGRAM: &str = env!("CARGO_BIN_EXE_haul-for-tests");
const SECRET: &str = "hunter2hunter2";
const EVERYTHING: &str = "off,haul=trace,haul_common=trace,haul_producer=trace,haul_worker=trace";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn job(task: &str, args: &Value) -> Spec {
    let args = json(args).unwrap();
    let mut spec = Spec::new(task.parse().unwrap(), queue("default"), args);
    spec.max_attempts = 1;
    spec
}

/// Jobs whose secrets are in every place that a submitter has.
fn jobs() -> Vec<Spec> {
    let mut echo = job("haul.echo", &value!({ "password": SECRET }));
    let header = HeaderValue::Text(SECRET.to_owned());
    echo.headers = BTreeMap::from([("authorization".to_owned(), header)]);
    let script = format!("exit 3 # {SECRET}");
    let shell = value!({ "script": script, "stdin": SECRET, "env": { "PASSWORD": SECRET } });
    vec![
        echo,
        job("shell.run", &shell),
        job("shell.run", &value!({ "command": SECRET })),
        job("nobody.knows", &value!([SECRET])),
    ]
}

fn malformed() -> Vec<Message> {
    let mut all = vec![
        message("default", 1),
        message("default", 2),
        message("default", 3),
    ];
    all[0].body = format!("not JSON: {SECRET}").into();
    for (n, name) in [(1, "tags"), (2, "max_attempts")] {
        let wrong = HeaderValue::Text(format!("{SECRET} {SECRET}"));
        all[n].head.headers.insert(name.to_owned(), wrong);
    }
    all
}

async fn submit(site: &Site, specs: Vec<Spec>) {
    let submissions = specs.into_iter().map(|spec| Submission {
        spec,
        due: None,
        chosen_id: false,
    });
    for answer in site.producer.submit_all(submissions.collect()).await {
        answer.unwrap();
    }
}

async fn all_end(site: &Site, count: usize) {
    until("all to end", || async {
        let page = PageRequest {
            limit: 100,
            after: None,
        };
        let filter = Filter::default();
        let records = site.producer.list(&filter, page).await.unwrap().records;
        let ended = |record: &&haul_common::job::Record| record.life.state.kind().is_terminal();
        records.iter().filter(ended).count() == count
    })
    .await;
}

async fn no_secret_is_logged(kind: Kind) {
    let site = Site::of(kind).await;
    let mut worker = command(PROGRAM, &site);
    worker
        .args(["worker", "--allow-shell"])
        .env("HAUL_LOG", EVERYTHING);
    let worker = HaulWorker::ready(worker).await;
    let specs = jobs();
    let failing = specs[1].id.clone();
    submit(&site, specs).await;
    let route = || Route::Lane(queue("default"), Lane::Normal);
    let publications = malformed().into_iter().map(|message| Publication {
        message,
        route: route(),
    });
    let broker = &site.producer.backend().broker;
    for confirm in broker.publish(publications.collect()).await {
        assert_eq!(confirm, Confirm::Accepted);
    }
    all_end(&site, 7).await;
    let (_, log) = worker.drained().await;
    assert!(!log.contains(SECRET), "{kind:?}: {log}");
    assert!(!log.contains("guest:guest"), "{kind:?}: {log}");
    assert!(
        log.contains(&*failing) && log.contains("a malformed message"),
        "{kind:?}: {log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_headers_and_passwords_are_not_logged_at_any_level() {
    for kind in BOTH {
        no_secret_is_logged(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_urls_that_do_not_work_are_not_logged() {
    let site = Site::embedded().await;
    let broker = format!("amqp://me:{SECRET}@127.0.0.1:1/%2f");
    let store = format!("redis://me:{SECRET}@127.0.0.1:1/0");
    for (broker, store) in [(&*broker, "sqlite:x.db"), (&*broker, &*store)] {
        let mut list = command(PROGRAM, &site);
        list.args(["job", "list", "--broker", broker, "--store", store]);
        list.current_dir(std::env::temp_dir())
            .env("HAUL_LOG", EVERYTHING);
        let output = list.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

async fn json_logs_tell_whose(kind: Kind) {
    let site = Site::of(kind).await;
    let mut worker = command(PROGRAM, &site);
    worker.args(["worker", "--allow-shell", "--log-format", "json"]);
    let worker = HaulWorker::ready(worker).await;
    let mut push = command(PROGRAM, &site);
    push.args(["job", "push", "shell.run", "--attempts", "1"]);
    push.args(["--args", "{\"script\": \"exit 3\"}"]);
    push.env("TRACEPARENT", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let id = String::from_utf8(push.output().await.unwrap().stdout).unwrap();
    all_end(&site, 1).await;
    let (_, log) = worker.drained().await;
    let lines = log.lines().map(|line| {
        let line: Result<Value, _> = serde_json::from_str(line);
        line.unwrap_or_else(|error| panic!("{kind:?}: {error} in {log}"))
    });
    let failed = lines.filter(|line| line["message"] == "failed");
    let failed = failed.collect::<Vec<_>>();
    assert_eq!(failed.len(), 1, "{log}");
    let span = &failed[0]["span"];
    assert_eq!(span["job"], id.trim(), "{log}");
    assert_eq!(
        (&span["attempt"], &span["trace"]),
        (&value!(1), &value!(TRACE)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_json_log_is_json_and_tells_job_attempt_and_trace() {
    for kind in BOTH {
        json_logs_tell_whose(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_is_none_is_refused() {
    let site = Site::embedded().await;
    let mut list = command(PROGRAM, &site);
    list.args(["job", "list"]).env("HAUL_LOG_FORMAT", "xml");
    let output = list.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("HAUL_LOG_FORMAT: `xml`") && said.contains("text or json"),
        "{said}"
    );
}
