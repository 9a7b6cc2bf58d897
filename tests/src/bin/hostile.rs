//! Malformed messages among good ones, past a worker process; see `haul_tests::hostile`.
//!
//! `hostile [--count N] [--rate N]` needs the servers of `HAUL_TEST_AMQP` and `HAUL_TEST_REDIS`, and
//! `test-worker` beside it. Ends with 1 when good jobs take twice as long beside bad ones.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use haul_tests::{
    hostile::{Plan, run},
    site::{Kind, Site},
    worker_process::{Settings, WorkerProcess},
};

const USAGE: &str = "hostile [--count N] [--rate N]";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut plan = Plan {
        count: 200_000,
        rate: 500,
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().context(USAGE)?.replace('_', "").parse()?;
        match flag.as_str() {
            "--count" => plan.count = value,
            "--rate" => plan.rate = value,
            _ => bail!(USAGE),
        }
    }
    let site = Site::of(Kind::Fleet).await;
    let settings = Settings {
        slots: 16,
        ..Settings::default()
    };
    let mut worker = WorkerProcess::ready(&site, &settings).await;
    let report = run(&site, &mut worker, plan).await;
    let [alone, beside] = [report.alone, report.beside];
    println!(
        "{} good messages alone:              p50 {:?}, p99 {:?}",
        plan.count, alone[0], alone[1]
    );
    println!(
        "{} good among as many malformed ones: p50 {:?}, p99 {:?}",
        plan.count, beside[0], beside[1]
    );
    println!("kept as dead jobs: {:?}", report.dead);
    println!("worker: {} MiB at most, and it runs", report.worker_mib);
    Ok(ExitCode::from(u8::from(beside[1] >= alone[1] * 2)))
}
