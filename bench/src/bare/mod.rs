//! Bare metal: what a careful engineer writes by hand over lapin and redis, and no more.
//!
//! The same as Haul, because the promises to whoever submits a job depend on it:
//! * durable quorum queues, persistent messages, `mandatory`, every publication confirmed; confirms
//!   are pipelined, 1,000 to a window, three windows at once;
//! * a job counts as submitted when its message is confirmed *and* its record is written;
//! * the record, one hash of Redis for each job, is written three times, by scripts that compare and
//!   set: `queued`; `running` with its attempt, unless the job is over; `succeeded` with the result,
//!   if the attempt is still the current one, to expire after the retention;
//! * a delivery is acknowledged after its end is recorded, with `multiple`;
//! * arguments are decoded from JSON into a struct, results encoded.
//!
//! As fast as that can be: everything that is there goes together. A chunk of up to 256 deliveries is
//! claimed in one pipeline, run concurrently, recorded in one pipeline. (So a slow job holds up the
//! records of its chunk, which Haul does not have.)
//!
//! Left out, and so what Haul's ratio pays for: retries and backoff, delays, cancel, dead jobs and
//! their queue, time-outs, progress and log, checkpoints, the history of attempts, lists and counts by
//! state, watching, heartbeats and taking over from a vanished worker, returned messages matched to
//! their publication, reconnecting, unreadable messages, arguments in the record, deadlines for
//! every call, fair turns of lanes. An error ends the program.

mod broker;
mod latency;
mod load;
mod store;
mod submit;
mod work;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::span::{self, Span};
use load::Shape;
pub(crate) use store::open;

/// Where the servers are.
#[derive(Debug, Clone, Args)]
pub(crate) struct At {
    /// amqp://…
    #[arg(long)]
    broker: String,
    /// redis://…
    #[arg(long)]
    store: String,
}

/// The workloads of `haul bench`, with the same options.
#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// Submit jobs in bulk, and leave them
    Submit {
        #[command(flatten)]
        at: At,
        #[arg(long)]
        jobs: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// Work off what is there and what comes, until stdin ends
    Work {
        #[command(flatten)]
        at: At,
        /// How many at once, of each queue
        #[arg(long, default_value_t = 256)]
        slots: u16,
        #[command(flatten)]
        shape: Shape,
    },
    /// Submit jobs at a steady rate and time each from its submission to its start
    Latency {
        #[command(flatten)]
        at: At,
        #[arg(long)]
        rate: u32,
        #[arg(long)]
        seconds: u32,
        #[command(flatten)]
        shape: Shape,
    },
}

pub(crate) async fn run(workload: Workload) -> Result<()> {
    match workload {
        Workload::Submit { at, jobs, shape } => submit::run(&at, jobs, &shape).await,
        Workload::Work { at, slots, shape } => work::run(&at, slots, &shape).await,
        Workload::Latency {
            at,
            rate,
            seconds,
            shape,
        } => latency::run(&at, rate, seconds, &shape).await,
    }
}

/// One figure, a JSON line, as `haul bench` prints it.
#[derive(Debug, Serialize)]
struct Figure {
    system: &'static str,
    workload: &'static str,
    jobs: usize,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    from_us: u64,
    to_us: u64,
    cpu_us_per_job: f64,
    memory_kib: i64,
}

impl Figure {
    fn of_span(workload: &'static str, jobs: usize, span: &Span) -> Self {
        let (from_us, to_us) = span.ends_us();
        Self {
            system: "bare",
            workload,
            jobs,
            p50_ms: None,
            p99_ms: None,
            from_us,
            to_us,
            cpu_us_per_job: span.cpu().as_micros() as f64 / jobs.max(1) as f64,
            memory_kib: span::memory_kib(),
        }
    }

    fn print(&self) -> Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}
