//! `haul bench`: what the pair of backends in use does, on this machine, now.
//!
//! Every job carries 200 bytes of arguments, unless told otherwise; its result and its states are recorded; messages are
//! persistent and confirmed. Each figure is one JSON line on stdout.

mod drain;
mod io;
mod latency;
mod load;
mod span;
mod submit;
mod work;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use clap::{Args, Subcommand};
use haul_producer::Backend;
use haul_worker::Urls;
use serde::Serialize;

use crate::commands::worker::parse_address;
use load::Shape;
use span::Span;

/// Measure the backends in use: rates and latencies, a JSON line each
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Clone, Subcommand)]
enum Workload {
    /// Submit no-op jobs in bulk, then work them off
    Drain {
        /// How many jobs
        #[arg(long, default_value_t = 50_000)]
        jobs: usize,
        /// How many at once
        #[arg(long, default_value_t = 256)]
        slots: u32,
        /// Answer monitors on this address meanwhile
        #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Submit jobs in bulk, and leave them
    Submit {
        /// How many jobs
        #[arg(long, default_value_t = 50_000)]
        jobs: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// Work off what is there and what comes, until stdin ends
    Work {
        /// How many at once, of each queue
        #[arg(long, default_value_t = 256)]
        slots: u32,
        #[command(flatten)]
        shape: Shape,
    },
    /// Submit jobs at a steady rate and time each from its submission to its start
    Latency {
        /// Jobs a second
        #[arg(long, default_value_t = 200)]
        rate: u32,
        /// For how many seconds
        #[arg(long, default_value_t = 20)]
        seconds: u32,
        #[command(flatten)]
        shape: Shape,
    },
    /// Work off jobs that wait, as for a remote service
    Io {
        /// How many jobs
        #[arg(long, default_value_t = 5_000)]
        jobs: usize,
        /// How many at once
        #[arg(long, default_value_t = 200)]
        slots: u32,
        /// How many milliseconds each waits
        #[arg(long, default_value_t = 50)]
        wait_ms: u64,
    },
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    system: &'static str,
    backend: &'static str,
    workload: &'static str,
    jobs: usize,
    seconds: f64,
    jobs_per_s: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    #[serde(flatten)]
    spent: Option<Spent>,
}

/// What a figure of one process among several is put together from.
#[derive(Debug, Serialize)]
struct Spent {
    from_us: u64,
    to_us: u64,
    cpu_us_per_job: f64,
    memory_kib: i64,
}

impl Figure {
    fn new(backend: &Backend, workload: &'static str, jobs: usize, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        Self {
            system: "haul",
            backend: if backend.embedded {
                "sqlite"
            } else {
                "broker+store"
            },
            workload,
            jobs,
            seconds: round(seconds),
            jobs_per_s: (jobs as f64 / seconds).round(),
            p50_ms: None,
            p99_ms: None,
            spent: None,
        }
    }

    fn of_span(backend: &Backend, workload: &'static str, jobs: usize, span: &Span) -> Self {
        let (from_us, to_us) = span.ends_us();
        let took = Duration::from_micros(to_us.saturating_sub(from_us));
        let cpu_us = span.cpu().as_micros() as f64;
        Self {
            spent: Some(Spent {
                from_us,
                to_us,
                cpu_us_per_job: round(cpu_us / jobs.max(1) as f64),
                memory_kib: span::memory_kib(),
            }),
            ..Self::new(backend, workload, jobs, took)
        }
    }

    fn with_latencies(mut self, mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        let at = |percent: usize| {
            let place = waits.len() * percent / 100;
            waits
                .get(place)
                .map(|wait| round(wait.as_secs_f64() * 1000.0))
        };
        (self.p50_ms, self.p99_ms) = (at(50), at(99));
        self
    }

    fn print(&self) -> Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Runs one workload.
pub(crate) async fn run(args: &BenchArgs, backend: Backend, urls: Urls) -> Result<()> {
    match args.workload.clone() {
        Workload::Drain {
            jobs,
            slots,
            listen,
            shape,
        } => drain::run(backend, urls, jobs, slots, shape, listen).await,
        Workload::Submit { jobs, shape } => submit::run(backend, jobs, shape).await,
        Workload::Work { slots, shape } => work::run(backend, urls, slots, shape).await,
        Workload::Latency {
            rate,
            seconds,
            shape,
        } => latency::run(backend, urls, rate, seconds, shape).await,
        Workload::Io {
            jobs,
            slots,
            wait_ms,
        } => io::run(backend, urls, jobs, slots, wait_ms).await,
    }
}
