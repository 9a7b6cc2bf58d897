//! What metrics cost: for each job, and for each scrape of a worker with 50 queues and 20 tasks.
//!
//!     cargo run --release --package haul-tests --bin metrics-cost
//!
//! Prints one JSON line. A job's share is to be compared with the processor time of a job, that is
//! with `haul bench drain`.

use std::{hint::black_box, time::Instant};

use haul_common::{
    job::{Spec, json},
    metrics::{self, Outcome, QueueMeters},
};
use serde_json::json;

const QUEUES: usize = 50;
const TASKS: [&str; 20] = [
    "task.a", "task.b", "task.c", "task.d", "task.e", "task.f", "task.g", "task.h", "task.i",
    "task.j", "task.k", "task.l", "task.m", "task.n", "task.o", "task.p", "task.q", "task.r",
    "task.s", "task.t",
];
const JOBS: u32 = 1_000_000;
const SCRAPES: u32 = 50;

fn main() -> anyhow::Result<()> {
    let mut meters = Vec::new();
    for n in 0..QUEUES {
        meters.push(QueueMeters::new(
            &format!("queue-{n}").parse()?,
            8,
            TASKS.into_iter(),
        ));
    }
    // All that a worker shows of every task and queue.
    for queue in &meters {
        TASKS.iter().for_each(|task| job(queue, task));
    }
    let since = Instant::now();
    for n in 0..JOBS {
        job(
            &meters[n as usize % QUEUES],
            TASKS[n as usize % TASKS.len()],
        );
    }
    let of_worker = since.elapsed().as_nanos() / u128::from(JOBS);

    let spec = Spec::new("task.a".parse()?, "queue-0".parse()?, json(&1)?);
    let since = Instant::now();
    for _ in 0..JOBS {
        // As of one that submits them one by one.
        metrics::Enqueued::default().count(black_box(&spec), false);
    }
    let of_producer = since.elapsed().as_nanos() / u128::from(JOBS);

    let mut scrapes: Vec<_> = (0..SCRAPES).map(|_| scrape()).collect();
    scrapes.sort_unstable();
    let text = metrics::text();
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let line = json!({
        "worker_ns_per_job": of_worker,
        "producer_ns_per_job": of_producer,
        "scrape_ms_median": scrapes[scrapes.len() / 2],
        "scrape_ms_max": scrapes.last(),
        "bytes": text.len(),
        "lines": lines,
    });
    println!("{line}");
    Ok(())
}

/// Everything that is counted of an attempt that goes well, clocks read as there.
fn job(queue: &QueueMeters, task: &str) {
    let task = queue.task(black_box(task));
    task.started();
    queue.running.inc();
    queue.wait.observe(0.2);
    let began = Instant::now();
    queue.running.dec();
    task.ran(began.elapsed(), None);
    task.finished(Outcome::Succeeded);
    queue.end_to_end.observe(0.3);
}

fn scrape() -> u128 {
    let since = Instant::now();
    black_box(metrics::text());
    since.elapsed().as_millis()
}
