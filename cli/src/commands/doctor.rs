//! `haul doctor`

use clap::Args;
use haul_common::{
    connect::Urls,
    ports::{Finding, Level},
    time::Timestamp,
};
use haul_producer::{Producer, StateKind, WorkerInfo};
use serde::Serialize;

use crate::{
    exit::{Code, Exit},
    output,
    redact::redact,
    session::Session,
};

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 if anything is broken, and with 69 if the backend cannot be reached.

Examples:
  haul doctor
  haul doctor --broker amqp://localhost --store redis://localhost --json")]
pub(crate) struct DoctorArgs {}

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
pub(crate) async fn run(session: &Session, _args: DoctorArgs) -> anyhow::Result<()> {
    let urls = &session.settings.urls;
    let producer = match session.connect().await {
        Ok(producer) => producer,
        Err(error) => {
            let unreachable = finding(Level::Broken, "connection", format!("{error:#}"));
            print(session, urls, &[unreachable], &[])?;
            return Err(error.context("cannot connect"));
        }
    };
    let backend = producer.backend();
    let mut findings = backend.broker.check().await;
    findings.extend(backend.store.check().await);
    let workers = producer.workers().await?;
    findings.push(waiting_without_worker(&producer, &workers).await?);
    print(session, urls, &findings, &workers)?;
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

/// Jobs that wait in a queue that no worker serves wait for ever.
async fn waiting_without_worker(
    producer: &Producer,
    workers: &[WorkerInfo],
) -> anyhow::Result<Finding> {
    let unserved: Vec<String> = producer
        .counts()
        .await?
        .into_iter()
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
    Ok(if unserved.is_empty() {
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
    })
}

fn print(
    session: &Session,
    urls: &Urls,
    findings: &[Finding],
    workers: &[WorkerInfo],
) -> anyhow::Result<()> {
    let broker = redact(&urls.broker);
    let store = redact(urls.store.as_deref().unwrap_or(&urls.broker));
    if session.json {
        let findings = findings.iter().map(finding_view).collect();
        let workers = workers.iter().map(worker_view).collect();
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
