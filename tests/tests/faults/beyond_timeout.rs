//! A job that runs longer than a broker lets a delivery be held.

use std::time::Duration;

use haul_common::job::Outcome;
use haul_tests::{
    site::{Kind, Site, outcomes},
    wait::SOON,
    worker_process::{Settings, WorkerProcess},
};

/// The broker's time-out is 60 s here, and it looks once a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_longer_than_the_consumer_timeout_runs_once() {
    let site = Site::of(Kind::Fleet).await;
    let settings = Settings {
        slots: 1,
        guard_after: Duration::from_secs(20),
        ..Settings::default()
    };
    let worker = WorkerProcess::ready(&site, &settings).await;
    let long = site.submit(&["sleep_ms 150000"]).await;
    site.did("start", 1, SOON).await;
    // Waits behind it, in the hands of the worker, for longer than the broker allows.
    let short = site.submit(&["ok"]).await;
    for id in [&long, &short] {
        let record = site.ended(id, Duration::from_secs(200)).await;
        assert_eq!(outcomes(&record), [Outcome::Succeeded], "{}", worker.log());
        assert_eq!(site.ledger().count("start", id), 1);
    }
    site.is_empty(0, SOON).await;
}
