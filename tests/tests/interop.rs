//! Real clients in other languages, over a real RabbitMQ: their messages become the jobs that they
//! should be, and they read what Haul publishes. `tests/client` runs them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use haul_common::{
    filter::Filter,
    job::{HeaderValue, Lane, Reason, Record, State, StateKind},
    ports::{Broker, Inbox, PageRequest, Publication, Route, Source},
    wire::{
        Message, schema,
        topology::{Namespace, origin_of},
    },
};
use haul_tests::{
    fleet::{LONG, within},
    golden::{self, Golden, Wrong},
    haul_worker::{HaulWorker, command},
    jobs::queue,
    site::{Kind, Site},
    wait::eventually,
};
use serde_json::{Value, json};
use tokio::process::Command;

/// The first time, libraries are fetched.
const FETCH: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `tests/client`.
async fn run(site: Option<&Site>, args: &[&str]) -> Output {
    let mut command = Command::new(root().join("tests/client"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command.envs(site.map(Site::env).unwrap_or_default());
    let output = tokio::time::timeout(FETCH, command.output());
    output.await.expect("the client ends").unwrap()
}

/// What `tests/client` prints; nothing when the language is not installed here.
async fn client(site: Option<&Site>, args: &[&str]) -> Option<String> {
    let output = run(site, args).await;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        // Past the capture of a test that succeeds.
        let _ = write!(std::io::stderr(), "{said}");
        return None;
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{args:?}: {printed}{said}");
    Some(printed)
}

// ---- the examples

/// What became of the messages of one client.
struct Jobs(HashMap<String, Record>);

impl Jobs {
    /// Waits until all of these have ended. Jobs are known by what their arguments say, else by
    /// the id that the client printed.
    async fn ended(site: &Site, printed: &str) -> Self {
        let lines: Vec<(&str, &str)> = printed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| *name != "answer")
            .collect();
        let named = |record: &Record| {
            let args: Value = serde_json::from_str(record.spec.args.get()).unwrap();
            let by_id = || lines.iter().find(|(_, id)| **id == *record.spec.id);
            let by_args = args["case"].as_str().map(str::to_owned);
            by_args.or_else(|| by_id().map(|(name, _)| (*name).to_owned()))
        };
        let all = eventually("every message to become a job that ends", LONG, || async {
            let page = PageRequest {
                limit: 100,
                after: None,
            };
            let listing = site.producer.list(&Filter::default(), page).await.unwrap();
            let ended = listing
                .records
                .into_iter()
                .filter(|record| record.life.state.kind().is_terminal());
            let all: HashMap<_, _> = ended.filter_map(|r| Some((named(&r)?, r))).collect();
            if all.len() == lines.len() {
                Ok(all)
            } else {
                Err(all.into_keys().collect::<Vec<_>>())
            }
        });
        Self(all.await)
    }

    fn get(&self, name: &str) -> &Record {
        self.0.get(name).unwrap_or_else(|| panic!("no job {name}"))
    }

    fn succeeded(&self, name: &str) -> &Record {
        let record = self.get(name);
        assert_eq!(record.life.state.kind(), StateKind::Succeeded, "{record:?}");
        record
    }

    fn dead(&self, name: &str, reason: Reason, error: &str) {
        let record = self.get(name);
        assert_eq!(
            record.life.state.reason(),
            Some(reason),
            "{name}: {record:?}"
        );
        let said = record.life.error.as_deref().unwrap();
        assert!(said.starts_with(error), "{name}: {said}");
    }
}

fn the_good_ones(jobs: &Jobs, language: &str) {
    let minimal = jobs.succeeded("minimal");
    let State::Succeeded { result, .. } = &minimal.life.state else {
        panic!("it succeeded");
    };
    let result: Value = serde_json::from_str(result.get()).unwrap();
    assert_eq!(result, json!({ "from": language, "case": "minimal" }));
    assert_eq!(minimal.spec.id.len(), 36, "the worker gave it an id");

    let spec = &jobs.succeeded("all-headers").spec;
    assert_eq!(spec.max_attempts, 3);
    assert_eq!(spec.backoff.to_string(), "list(1s,10s,5m)");
    assert_eq!(spec.timeout, Some(Duration::from_secs(30)));
    assert_eq!(spec.retention, Some(Duration::from_secs(3600)));
    assert_eq!(
        spec.deadline.unwrap().to_string(),
        "2099-01-01T00:00:00.000Z"
    );
    assert_eq!(spec.batch.as_deref(), Some(&*format!("batch-{language}")));
    assert_eq!(spec.tags, ["eu", "big"].map(|tag| tag.parse().unwrap()));
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let kept = [("tenant", text("Größe 🚚")), ("traceparent", text(trace))];
    let kept = kept.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(spec.headers, kept.into());

    let delayed = jobs.succeeded("delayed");
    let waited = delayed.life.started.unwrap().since(delayed.created);
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
    assert_eq!(jobs.succeeded("urgent").spec.lane, Lane::Critical);
    jobs.succeeded("ask");
}

fn the_wrong_ones(jobs: &Jobs) {
    jobs.dead("no-task", Reason::Malformed, "type: missing");
    jobs.dead("bad-task", Reason::Malformed, "type: ");
    jobs.dead("bad-id", Reason::Malformed, "message_id: ");
    jobs.dead("not-json", Reason::Malformed, "body: not JSON");
    jobs.dead("too-large", Reason::Malformed, "body: 300002 bytes");
    jobs.dead("bad-number", Reason::Malformed, "timeout_ms: ");
    jobs.dead("bad-time", Reason::Malformed, "run_at: ");
    jobs.dead("bad-header", Reason::Malformed, "headers: `tags` ");
    jobs.dead("unknown-task", Reason::UnknownTask, "");
    jobs.dead("no-queue", Reason::Rejected, "no queue `images`");
    // Whichever is claimed first has the id.
    let first = jobs.get("taken").life.state.kind() == StateKind::Succeeded;
    let (has, lost) = if first {
        ("taken", "taken-id")
    } else {
        ("taken-id", "taken")
    };
    jobs.succeeded(has);
    jobs.dead(lost, Reason::Rejected, "another job");
}

async fn every_example_becomes_what_it_should(language: &str, args: &[&str]) {
    let site = Site::of(Kind::Fleet).await;
    let mut worker = command(env!("CARGO_BIN_EXE_haul-for-tests"), &site);
    worker.args(["worker", "--queue", "mail=4"]);
    let _worker = HaulWorker::ready(worker).await;
    let Some(printed) = client(Some(&site), args).await else {
        return;
    };
    let jobs = Jobs::ended(&site, &printed).await;
    assert_eq!(jobs.0.len(), 17, "{printed}");
    the_good_ones(&jobs, language);
    the_wrong_ones(&jobs);
    let answer = printed
        .lines()
        .find_map(|line| line.strip_prefix("answer succeeded "));
    let answer: Value = serde_json::from_str(answer.unwrap()).unwrap();
    assert_eq!(answer, json!({ "from": language, "case": "ask" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_python_example_becomes_what_it_should() {
    let file = root().join("examples/clients/python/publish.py");
    let args = ["python", file.to_str().unwrap()];
    every_example_becomes_what_it_should("python", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_javascript_example_becomes_what_it_should() {
    let file = root().join("examples/clients/javascript/publish.mjs");
    let args = ["javascript", file.to_str().unwrap()];
    every_example_becomes_what_it_should("javascript", &args).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_go_example_becomes_what_it_should() {
    every_example_becomes_what_it_should("go", &["go"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_java_example_becomes_what_it_should() {
    every_example_becomes_what_it_should("java", &["java"]).await;
}

// ---- a worker

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_python_pulls_jobs_and_settles_them_by_its_exit_code() {
    let (site, _) = fleet_with_mail().await;
    let haul = || command(env!("CARGO_BIN_EXE_haul-for-tests"), &site);
    let push = async |id: &str, args: &str| {
        let mut push = haul();
        push.args(["job", "push", "email.send", "--queue", "mail", "--id", id]);
        let output = push.args(["--backoff", "none", "--args", args]).output();
        assert!(output.await.unwrap().status.success());
    };
    push("good", r#"{"to": "ada@example.org", "busy": true}"#).await;
    push("bad", r#"{"whom": "nobody"}"#).await;
    let program = root().join("examples/clients/python/worker.py");
    let mut pull = haul();
    pull.args([
        "job", "pull", "--queue", "mail", "--follow", "--", "python3",
    ]);
    let _pulling = pull.arg(program).stdout(Stdio::null()).spawn().unwrap();
    let (good, bad) = ("good".parse().unwrap(), "bad".parse().unwrap());
    let State::Succeeded { result, .. } = site.ended(&good, LONG).await.life.state else {
        panic!("it was sent");
    };
    let result: Value = serde_json::from_str(result.get()).unwrap();
    assert_eq!(result, json!({ "sent": "ada@example.org", "attempt": 2 }));
    let reason = site.ended(&bad, LONG).await.life.state.reason();
    assert_eq!(reason, Some(Reason::Fatal));
}

// ---- golden messages

const LANGUAGES: [(&str, &str); 2] = [("python", "golden.py"), ("javascript", "golden.mjs")];

async fn golden_client(site: &Site, (language, file): (&str, &str), args: &[&str]) -> String {
    let file = root().join("tests/interop").join(file);
    let args = [&[language, file.to_str().unwrap()], args].concat();
    client(Some(site), &args).await.unwrap()
}

async fn fleet_with_mail() -> (Site, std::sync::Arc<dyn Broker>) {
    let site = Site::of(Kind::Fleet).await;
    let broker = site.producer.backend().broker.clone();
    let queues = [queue("mail")];
    let declared = eventually("its queue", LONG, || broker.declare(&queues));
    declared.await;
    (site, broker)
}

async fn next(inboxes: &mut HashMap<Lane, Inbox>, routing_key: &str) -> Message {
    let lane = origin_of(routing_key).unwrap().1;
    let inbox = inboxes.get_mut(&lane).unwrap();
    let delivery = within("a message", inbox.0.recv()).await.unwrap();
    delivery.settlement.ack();
    delivery.message
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_messages_of_other_clients_are_what_they_are_of_ours() {
    let (site, broker) = fleet_with_mail().await;
    let (mut jobs, wrong): (Vec<Golden>, Vec<Wrong>) = (golden::jobs(), golden::wrong());
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut inboxes = HashMap::new();
    for lane in Lane::ALL {
        let source = Source::Lane(queue("mail"), lane);
        inboxes.insert(lane, broker.consume(source, 100).await.unwrap());
    }
    let dir = root().join("tests/golden");
    let files = jobs.iter().map(|golden| dir.join(&golden.name));
    let files: Vec<PathBuf> = files.chain([dir.join("wrong/messages.json")]).collect();
    let mut args = vec!["publish"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    for language in LANGUAGES {
        golden_client(&site, language, &args).await;
        for golden in &jobs {
            let came = next(&mut inboxes, &golden.routing_key).await;
            let sent = as_sent(language.0, golden.message());
            assert_eq!(came, sent, "{language:?}: {}", golden.name);
            if sent == golden.message() {
                golden.is_read_from(&came);
            }
        }
        for wrong in &wrong {
            let came = next(&mut inboxes, &wrong.routing_key).await;
            let sent = as_sent(language.0, wrong.message());
            assert_eq!(came, sent, "{language:?}: {}", wrong.about);
        }
    }
}

/// What a language can say of a message: pika has no floats.
fn as_sent(language: &str, mut message: Message) -> Message {
    let headers = &mut message.head.headers;
    headers.retain(|_, value| language != "python" || !matches!(value, HeaderValue::Float(_)));
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn what_haul_publishes_is_the_golden_message_to_other_clients() {
    let (site, broker) = fleet_with_mail().await;
    let jobs = golden::jobs();
    let ours: Vec<&Golden> = jobs.iter().filter(|golden| golden.ours).collect();
    let route = || Route::Lane(queue("mail"), Lane::Normal);
    let env: HashMap<_, _> = site.env().into_iter().collect();
    let namespace = Namespace::new(&env["HAUL_NAMESPACE"]).unwrap();
    let name = namespace.work_queue(&queue("mail"), Lane::Normal);
    for language in LANGUAGES {
        let publications = ours.iter().map(|golden| Publication {
            message: haul_common::wire::encode(&golden.envelope()),
            route: route(),
        });
        for confirm in broker.publish(publications.collect()).await {
            assert_eq!(confirm, haul_common::ports::Confirm::Accepted);
        }
        let args = ["read", &name, &ours.len().to_string()];
        let read = golden_client(&site, language, &args).await;
        let read: Vec<Value> = read
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let wanted = ours.iter().map(|golden| {
            let mut head = serde_json::to_value(&golden.head).unwrap();
            if golden.head.headers.is_empty() {
                head["headers"] = json!({});
            }
            if language.0 == "python" && head["headers"]["weight"] == 0.5 {
                // It cuts off what makes a double one.
                head["headers"]["weight"] = json!(0);
            }
            json!({ "head": head, "body": golden.body })
        });
        assert_eq!(read, wanted.collect::<Vec<_>>(), "{language:?}");
    }
}

// ---- AsyncAPI

#[tokio::test(flavor = "multi_thread")]
async fn the_asyncapi_document_is_what_asyncapi_takes() {
    let meta = client(None, &["asyncapi"]).await.unwrap();
    let meta: Value = serde_json::from_str(&meta).unwrap();
    let validator = jsonschema::draft7::new(&meta).unwrap();
    let document = schema::asyncapi(&Namespace::standard());
    let mut document: Value = serde_json::from_str(&document).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let exchange = &mut document["channels"]["jobs"]["bindings"]["amqp"]["exchange"]["type"];
    *exchange = json!("mail");
    assert!(!validator.is_valid(&document), "it takes anything");
}
