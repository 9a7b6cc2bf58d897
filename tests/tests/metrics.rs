//! What a real run exports: all of the list, from where it should come, and no more.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use haul_common::{
    metrics::{Family, LIST, Source},
    time::Timestamp,
};
use haul_producer::Submit;
use haul_tests::{
    http::get,
    site::{Kind, Site},
    wait::eventually,
};
use haul_worker::tasks::echo::Echo;

const LONG: Duration = Duration::from_secs(60);

/// A `haul` that answers monitors.
struct Haul {
    process: Child,
    at: SocketAddr,
}

impl Haul {
    fn start(site: &Site, args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_haul-under-test"))
            .args(args)
            .args(["--listen", "127.0.0.1:0"])
            .envs(site.env())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let told = |line: std::io::Result<String>| {
            let line = line.unwrap();
            let url = line.strip_prefix("haul: metrics on http://")?;
            url.strip_suffix("/metrics")?.parse().ok()
        };
        let at = said.find_map(told).unwrap();
        // Whoever writes must not be held up.
        std::thread::spawn(move || said.for_each(drop));
        Self { process, at }
    }

    async fn metrics(&self) -> String {
        let (status, answer) = get(self.at, "/metrics").await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn becomes_ready(&self) {
        let look = || async {
            match get(self.at, "/readyz").await {
                (200, answer) => Ok(answer),
                other => Err(other),
            }
        };
        eventually("to be ready", LONG, look).await;
    }
}

impl Drop for Haul {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Families of which there is a sample.
fn shown(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| line.starts_with("haul_"));
    let names = lines.map(|line| line.split(['{', ' ']).next().unwrap());
    names
        .map(|name| {
            let base = |end| name.strip_suffix(end);
            let base = ["_bucket", "_sum", "_count"].into_iter().find_map(base);
            base.unwrap_or(name)
        })
        .collect()
}

fn listed(which: impl Fn(&Family) -> bool) -> BTreeSet<&'static str> {
    LIST.iter()
        .filter(|family| which(family))
        .map(|family| family.name)
        .collect()
}

async fn echo(site: &Site, count: usize) {
    let jobs = (0..count).map(|n| -> Submit<'_, Echo> {
        let args = haul_common::job::json(&n).unwrap();
        site.producer.submit(Echo(args))
    });
    for job in site.producer.submit_many(jobs).await {
        job.unwrap();
    }
}

async fn everything_is_exported(kind: Kind) {
    let site = Site::of(kind).await;
    let worker = Haul::start(&site, &["worker", "--queue", "default=4"]);
    worker.becomes_ready().await;
    let canary = ["exporter", "--interval", "1s", "--canary", "default"];
    let exporter = Haul::start(&site, &canary);
    exporter.becomes_ready().await;
    echo(&site, 20).await;
    eventually("what was run to be counted", LONG, || async {
        let text = worker.metrics().await;
        let line =
            r#"haul_jobs_finished_total{outcome="succeeded",queue="default",task="haul.echo"}"#;
        let count = text.lines().find_map(|seen| seen.strip_prefix(line));
        let count: u32 = count.unwrap_or("0").trim().parse().unwrap();
        if count >= 21 { Ok(()) } else { Err(count) }
    })
    .await;
    // A worker knows nothing of the whole fleet: added up over workers, that would be wrong.
    let of_worker = worker.metrics().await;
    let submits = "haul_jobs_enqueued_total";
    let own = listed(|family| family.source == Source::Process && family.name != submits);
    assert_eq!(shown(&of_worker), own);

    let of_exporter = eventually("the exporter to show all", LONG, || async {
        let text = exporter.metrics().await;
        let embedded = kind == Kind::Embedded;
        let wanted = listed(|family| {
            let its_own = family.source == Source::Exporter || family.name == submits;
            its_own && (embedded || family.name != "haul_sqlite_file_bytes")
        });
        let seen = shown(&text);
        let missing = wanted.iter().filter(|name| !seen.contains(*name));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        if missing.is_empty() {
            Ok(text)
        } else {
            Err(missing)
        }
    })
    .await;
    assert!(
        !shown(&of_exporter).contains("haul_jobs_running"),
        "it runs no jobs: {of_exporter}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_exported_embedded() {
    everything_is_exported(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_exported_by_a_fleet() {
    everything_is_exported(Kind::Fleet).await;
}

/// Since when the oldest job waits, by the store.
async fn oldest(site: &Site) -> Option<Timestamp> {
    let queues = ["default".parse().unwrap()];
    let oldest = site.producer.backend().store.oldest(&queues).await;
    oldest.unwrap()[0]
}

async fn the_oldest_job_is_the_one_that_may_start(kind: Kind) {
    let site = Site::of(kind).await;
    let store = &site.producer.backend().store;
    assert_eq!(oldest(&site).await, None);
    let args = || Echo(haul_common::job::json("x").unwrap());
    let later = site
        .producer
        .submit(args())
        .delay(Duration::from_secs(3600));
    later.await.unwrap();
    assert_eq!(oldest(&site).await, None, "its time has not come");

    let due = store.now() + Duration::from_millis(300);
    site.producer.submit(args()).at(due).await.unwrap();
    let look = || async {
        match oldest(&site).await {
            Some(since) => Ok(since),
            None => Err("none"),
        }
    };
    let since = eventually("a job that is due", LONG, look).await;
    // A message that waits has a time of its own, a moment off.
    assert!(
        since.as_millis().abs_diff(due.as_millis()) < 100,
        "{since:?}, {due:?}"
    );

    let job = site.producer.submit(args()).await.unwrap();
    assert_eq!(
        oldest(&site).await,
        Some(since),
        "the other has waited longer"
    );
    let record = job.find().await.unwrap().unwrap();
    assert!(record.created > since);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_job_is_the_one_that_may_start_embedded() {
    the_oldest_job_is_the_one_that_may_start(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_job_is_the_one_that_may_start_in_a_fleet() {
    the_oldest_job_is_the_one_that_may_start(Kind::Fleet).await;
}
