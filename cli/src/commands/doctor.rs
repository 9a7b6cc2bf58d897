//! `haul doctor`

use std::collections::BTreeSet;

use clap::Args;
use haul_common::{
    connect::{ConnectError, Urls},
    ports::{BrokerError, Finding, Level, QueueCounts, StoreError},
    rabbitmq::management,
    time::Timestamp,
    wire::topology::Namespace,
};
use haul_producer::{Backend, Pause, QueueName, StateKind, WorkerInfo};
use serde::Serialize;

use super::queue::pause_words;
use crate::{
    exit::{Code, Exit},
    output,
    redact::redact,
    session::Session,
};

/// What to look at beside broker and store.
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at connections, versions, encryption, clocks, eviction and persistence, exchanges and queues
that differ from what Haul declares, unrouted messages, queues that are paused, and queues that no
worker serves. Alarms, policies, queues without a leader and consumer time-outs only RabbitMQ's
management plugin tells.

Ends with 1 if anything is broken, and with 69 if the backend cannot be reached.

Examples:
  haul doctor
  haul doctor --broker amqp://localhost --store redis://localhost --json
  haul doctor --management http://guest:guest@localhost:15672")]
pub(crate) struct DoctorArgs {
    /// Where RabbitMQ's management plugin answers: http://USER:PASSWORD@HOST:15672, or https://…;
    /// the user needs the tag `monitoring` [env: HAUL_MANAGEMENT, or HAUL_MANAGEMENT_FILE]
    #[arg(long, value_name = "URL")]
    management: Option<String>,
}

/// What was found, as JSON.
#[derive(Debug, Serialize)]
struct Report<'a> {
    broker: String,
    store: String,
    findings: Vec<FindingView<'a>>,
    workers: Vec<WorkerView<'a>>,
}

#[derive(Debug, Serialize)]
struct FindingView<'a> {
    level: &'static str,
    subject: &'a str,
    detail: String,
}

#[derive(Debug, Serialize)]
struct WorkerView<'a> {
    id: &'a str,
    host: &'a str,
    pid: u32,
    started_at: String,
    queues: std::collections::BTreeMap<&'a str, u32>,
}

/// Looks at everything and says what to do.
///
/// # Errors
/// When something is broken or unreachable.
pub(crate) async fn run(session: &Session, args: DoctorArgs) -> anyhow::Result<()> {
    let settings = &session.settings;
    let urls = &settings.urls;
    let management_url = args.management.as_ref().or(settings.management.as_ref());
    let management_url = management_url.map(String::as_str);
    let producer = match session.connect().await {
        Ok(producer) => producer,
        Err(error) => {
            let findings = apart(session, &error, management_url).await;
            print(session, urls, &findings, None)?;
            return Err(error.context("cannot connect"));
        }
    };
    let backend = producer.backend();
    let (workers, counts) = (producer.workers().await?, producer.counts().await?);
    let mut findings = backend.broker.check(&queues(&workers, &counts)).await;
    findings.extend(management(urls, management_url).await);
    findings.extend(backend.store.check().await);
    findings.push(waiting_without_worker(&counts, &workers));
    let now = backend.store.now();
    let pauses = producer.pauses().await?;
    findings.extend(pauses.iter().map(|one| paused(one, &counts, now)));
    print(session, urls, &findings, Some(&workers))?;
    if findings
        .iter()
        .any(|finding| finding.level == Level::Broken)
    {
        return Err(Exit::with(Code::Failed, "something is broken; see above"));
    }
    Ok(())
}

fn finding(level: Level, subject: &str, detail: String) -> Finding {
    Finding {
        level,
        subject: subject.to_owned(),
        detail,
    }
}

/// What can be told where not both can be used.
async fn apart(
    session: &Session,
    error: &anyhow::Error,
    management_url: Option<&str>,
) -> Vec<Finding> {
    let urls = &session.settings.urls;
    let Ok((broker, store)) = Backend::apart(urls).await else {
        return vec![finding(Level::Broken, "connection", format!("{error:#}"))];
    };
    let mut found = match broker {
        Ok(broker) => broker.check(&[]).await,
        Err(error) => vec![unusable("broker", "HAUL_BROKER", &error)],
    };
    if management_url.is_some() {
        found.extend(management(urls, management_url).await);
    }
    match store {
        Ok(store) => found.extend(store.check().await),
        Err(error) => found.push(unusable("store: connection", "HAUL_STORE", &error)),
    }
    found
}

/// Its errors say what to do, but for the one that has several causes.
fn unusable(subject: &str, variable: &str, error: &ConnectError) -> Finding {
    let advice = match error {
        ConnectError::Broker(BrokerError::Unreachable { .. })
        | ConnectError::Store(StoreError::Unreachable { .. }) => {
            format!(
                "; see that it runs, and that its address ({variable}) is right and let through"
            )
        }
        _ => String::new(),
    };
    finding(Level::Broken, subject, format!("{error}{advice}"))
}

/// Every queue that anybody has or serves.
fn queues(workers: &[WorkerInfo], counts: &[QueueCounts]) -> Vec<QueueName> {
    let served = workers.iter().flat_map(|worker| worker.queues.keys());
    let known = counts.iter().map(|counts| &counts.queue);
    let all: BTreeSet<&QueueName> = served.chain(known).collect();
    all.into_iter().cloned().collect()
}

/// What only the management plugin tells, if the broker can have one.
async fn management(urls: &Urls, url: Option<&str>) -> Vec<Finding> {
    if !urls.broker.starts_with("amqp") {
        return Vec::new();
    }
    let Some(url) = url else {
        let detail = "alarms, policies, leaders and consumer time-outs were not looked at: give \
                      --management http://USER:PASSWORD@HOST:15672";
        return vec![finding(Level::Fine, "management", detail.to_owned())];
    };
    // It was connected with already, so that it is a name.
    let names = urls.namespace.as_deref().map(Namespace::new);
    let names = names
        .and_then(Result::ok)
        .unwrap_or_else(Namespace::standard);
    management::check(url, &urls.broker, &names).await
}

/// Jobs that wait in a queue that no worker serves wait for ever.
fn waiting_without_worker(counts: &[QueueCounts], workers: &[WorkerInfo]) -> Finding {
    let unserved: Vec<String> = counts
        .iter()
        .filter(|counts| {
            !workers
                .iter()
                .any(|worker| worker.queues.contains_key(&counts.queue))
        })
        .filter_map(|counts| {
            let waiting = counts.states.get(&StateKind::Queued).copied().unwrap_or(0);
            (waiting > 0).then(|| format!("{} ({waiting})", counts.queue))
        })
        .collect();
    if unserved.is_empty() {
        finding(
            Level::Fine,
            "workers",
            "every queue with waiting jobs has a worker".to_owned(),
        )
    } else {
        let queues = unserved.join(", ");
        let detail = format!(
            "jobs wait in queues that no worker serves: {queues}; start one with: haul worker --queue NAME"
        );
        finding(Level::Warning, "workers", detail)
    }
}

/// Wanted, or forgotten: that is told by whoever reads it.
fn paused((queue, pause): (&QueueName, &Pause), counts: &[QueueCounts], now: Timestamp) -> Finding {
    let counts = counts.iter().find(|counts| counts.queue == *queue);
    let waiting = counts.and_then(|counts| counts.states.get(&StateKind::Queued));
    let waiting = waiting.copied().unwrap_or(0);
    let level = if waiting > 0 {
        Level::Warning
    } else {
        Level::Fine
    };
    let words = pause_words(pause, now);
    let detail = format!(
        "{queue} is paused {words}; waiting jobs: {waiting}; it goes on with: haul queue resume {queue}"
    );
    finding(level, "pause", detail)
}

fn print(
    session: &Session,
    urls: &Urls,
    findings: &[Finding],
    workers: Option<&[WorkerInfo]>,
) -> anyhow::Result<()> {
    let broker = redact(&urls.broker);
    let store = match urls.store.as_deref() {
        Some(store) => redact(store),
        None if session.settings.is_embedded() => broker.clone(),
        None => "none".to_owned(),
    };
    if session.json {
        let findings = findings.iter().map(finding_view).collect();
        let workers = workers
            .unwrap_or_default()
            .iter()
            .map(worker_view)
            .collect();
        return output::json(&Report {
            broker,
            store,
            findings,
            workers,
        });
    }
    output::line(format!("broker  {broker}\nstore   {store}\n"))?;
    for finding in findings {
        let FindingView {
            level,
            subject,
            detail,
        } = finding_view(finding);
        output::line(format!("{level:<8} {subject}: {detail}"))?;
    }
    // Where nobody could be asked, none seen means nothing.
    let Some(workers) = workers else {
        return Ok(());
    };
    output::line(format!(
        "\n{} seen",
        crate::commands::job::count(workers.len(), "worker")
    ))?;
    let now = Timestamp::now();
    for worker in workers {
        let queues: Vec<String> = worker
            .queues
            .iter()
            .map(|(queue, slots)| format!("{queue}={slots}"))
            .collect();
        output::line(format!(
            "  {}  {} pid {}  up {}  {}",
            worker.id,
            worker.host,
            worker.pid,
            crate::commands::job::age(now.since(worker.started)),
            queues.join(" ")
        ))?;
    }
    Ok(())
}

fn finding_view(finding: &Finding) -> FindingView<'_> {
    let level = match finding.level {
        Level::Fine => "fine",
        Level::Warning => "warning",
        Level::Broken => "broken",
    };
    FindingView {
        level,
        subject: &finding.subject,
        detail: redact(&finding.detail),
    }
}

fn worker_view(worker: &WorkerInfo) -> WorkerView<'_> {
    WorkerView {
        id: &worker.id,
        host: &worker.host,
        pid: worker.pid,
        started_at: worker.started.to_string(),
        queues: worker
            .queues
            .iter()
            .map(|(queue, slots)| (&**queue, *slots))
            .collect(),
    }
}
