//! One case, once, on one side.

use anyhow::Result;

use super::{
    cases::{Case, Kind, LOW_MS},
    process::{Figure, Side},
    servers::{Servers, Used},
};

/// One number: of what, and how much.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) what: What,
    pub(super) value: f64,
    /// µs of processor time for each job: of the process, the broker, the store.
    pub(super) cpu: Option<[f64; 3]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Submit,
    WorkOff,
    Both,
    P50,
    P99,
    BrokerMemory,
    StoreMemory,
    WorkerMemory,
}

pub(super) async fn run(side: &Side, case: &Case, servers: &Servers) -> Result<Vec<Sample>> {
    match case.kind {
        Kind::Drain => drain(side, case, servers).await,
        Kind::Both => both(side, case, servers).await,
        Kind::Latency { rate, seconds } => Ok(latencies(
            &side.latency(case, rate, seconds, case.lanes).await?,
        )),
        Kind::Critical { rate, seconds } => {
            side.submit(case, case.backlog, "low", LOW_MS).await?;
            Ok(latencies(
                &side.latency(case, rate, seconds, "critical").await?,
            ))
        }
        Kind::Memory => memory(side, case, servers).await,
    }
}

async fn drain(side: &Side, case: &Case, servers: &Servers) -> Result<Vec<Sample>> {
    if case.backlog > 0 {
        side.submit(case, case.backlog, case.lanes, 0).await?;
    }
    let used = servers.used();
    let submitted = side.submit(case, case.jobs, case.lanes, 0).await?;
    let submit = rate(What::Submit, &submitted, servers.used() - used);
    let used = servers.used();
    let worked = side.work(case).await?.finish(case.jobs).await?;
    let work = rate(What::WorkOff, &worked, servers.used() - used);
    Ok(vec![submit, work])
}

async fn both(side: &Side, case: &Case, servers: &Servers) -> Result<Vec<Sample>> {
    let used = servers.used();
    let workers = side.work(case).await?;
    let submitted = side.submit(case, case.jobs, case.lanes, 0).await?;
    let mut worked = workers.finish(case.jobs).await?;
    // From the first submission to the last end.
    worked.from_us = submitted.from_us;
    worked.cpu_us_per_job += submitted.cpu_us_per_job;
    Ok(vec![rate(What::Both, &worked, servers.used() - used)])
}

async fn memory(side: &Side, case: &Case, servers: &Servers) -> Result<Vec<Sample>> {
    let empty = servers.memory_mib();
    side.submit(case, case.backlog, case.lanes, 0).await?;
    let full = servers.memory_mib();
    let mut samples = drain(
        side,
        &Case {
            backlog: 0,
            ..case.clone()
        },
        servers,
    )
    .await?;
    for (what, (full, empty)) in [What::BrokerMemory, What::StoreMemory]
        .into_iter()
        .zip(full.into_iter().zip(empty))
    {
        samples.push(plain(what, full - empty));
    }
    let worked = side.work(case).await?.finish(case.jobs).await?;
    samples.push(plain(What::WorkerMemory, worked.memory_kib as f64 / 1024.0));
    Ok(samples)
}

fn rate(what: What, figure: &Figure, used: Used) -> Sample {
    let jobs = figure.jobs.max(1) as f64;
    Sample {
        what,
        value: figure.per_s(),
        cpu: Some([
            figure.cpu_us_per_job,
            used.broker_us / jobs,
            used.store_us / jobs,
        ]),
    }
}

fn latencies(figure: &Figure) -> Vec<Sample> {
    vec![
        plain(What::P50, figure.p50_ms.unwrap_or(f64::NAN)),
        plain(What::P99, figure.p99_ms.unwrap_or(f64::NAN)),
    ]
}

fn plain(what: What, value: f64) -> Sample {
    Sample {
        what,
        value,
        cpu: None,
    }
}
