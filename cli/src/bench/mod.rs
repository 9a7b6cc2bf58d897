//! `haul bench`: what the pair of backends in use does, on this machine, now.
//!
//! Every job carries 200 bytes of arguments; its result and its states are recorded; messages are
//! persistent and confirmed. Each figure is one JSON line on stdout.

mod drain;
mod io;
mod latency;
mod load;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use haul_producer::Backend;
use serde::Serialize;

/// Measure the backends in use: rates and latencies, a JSON line each
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Submit no-op jobs in bulk, then work them off
    Drain {
        /// How many jobs
        #[arg(long, default_value_t = 50_000)]
        jobs: usize,
        /// How many at once
        #[arg(long, default_value_t = 256)]
        slots: u32,
    },
    /// Submit jobs at a steady rate and time each from its submission to its start
    Latency {
        /// Jobs a second
        #[arg(long, default_value_t = 200)]
        rate: u32,
        /// For how many seconds
        #[arg(long, default_value_t = 20)]
        seconds: u32,
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
pub(crate) async fn run(args: &BenchArgs, backend: Backend) -> Result<()> {
    match args.workload {
        Workload::Drain { jobs, slots } => drain::run(backend, jobs, slots).await,
        Workload::Latency { rate, seconds } => latency::run(backend, rate, seconds).await,
        Workload::Io {
            jobs,
            slots,
            wait_ms,
        } => io::run(backend, jobs, slots, Duration::from_millis(wait_ms)).await,
    }
}
