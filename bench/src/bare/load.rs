//! The job, and where it goes.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the arguments have without padding, about.
const BARE_BYTES: usize = 88;

/// What the jobs are like, and where they go.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shape {
    /// How many bytes of arguments each has, about
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// How many queues they are spread over
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// Which lanes they are spread over
    #[arg(long, value_delimiter = ',', default_value = "normal")]
    lanes: Vec<String>,
    /// How many milliseconds each waits on average: from half of it to one and a half, in turn
    #[arg(long, default_value_t = 0)]
    wait_ms: u64,
}

/// A worker listens on all of them, wherever jobs go: as Haul's does.
const LANES: [&str; 4] = ["critical", "high", "normal", "low"];

impl Shape {
    /// Every queue of the broker that a worker listens on.
    pub(super) fn all_queues(&self) -> impl Iterator<Item = String> {
        (0..self.queues).flat_map(|n| LANES.map(|lane| queue(n, lane)))
    }

    /// How long job `n` waits: in no step with the others.
    fn wait(&self, n: usize) -> u64 {
        self.wait_ms / 2 + n as u64 % (self.wait_ms + 1)
    }

    /// The queue for job `n`.
    pub(super) fn place(&self, n: usize) -> String {
        let lane = &self.lanes[n / self.queues.max(1) % self.lanes.len()];
        queue(n % self.queues.max(1), lane)
    }
}

fn queue(n: usize, lane: &str) -> String {
    format!("bare.bench{n}.{lane}")
}

/// The arguments of every job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load {
    run: String,
    pub(super) at_us: u64,
    wait_ms: u64,
    padding: String,
}

/// A job on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) queue: String,
    pub(super) args: Vec<u8>,
}

impl Job {
    pub(super) fn new(shape: &Shape, run: Uuid, n: usize, at: Duration) -> Result<Self> {
        let load = Load {
            run: run.to_string(),
            at_us: u64::try_from(at.as_micros())?,
            wait_ms: shape.wait(n),
            padding: ".".repeat(shape.size.saturating_sub(BARE_BYTES)),
        };
        Ok(Self {
            id: Uuid::now_v7().to_string(),
            queue: shape.place(n),
            args: serde_json::to_vec(&load)?,
        })
    }
}

impl Load {
    /// The handler.
    pub(super) async fn handle(self) -> u64 {
        if self.wait_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.wait_ms)).await;
        }
        self.at_us
    }
}
