//! apalis over Redis.

use std::time::Duration;

use anyhow::Result;
use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use haul_peers::{PADDING, Peer, now_us, started, version};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// "Larger batches can improve throughput":
/// <https://docs.rs/apalis-redis/1.0.0/apalis_redis/struct.Config.html#method.batch_size>
const BATCH: usize = 100;
/// <https://docs.rs/apalis/1.0.0/apalis/layers/trait.WorkerBuilderExt.html>
const CONCURRENCY: usize = 100;
/// Nothing wakes a worker but its own clock; without this, its heartbeat, every 30 s:
/// <https://docs.rs/apalis-core/1.0.0/apalis_core/backend/ext/trait.BackendExt.html>
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    submitted_us: u64,
    padding: String,
}

#[derive(Clone)]
struct Apalis(RedisStorage<Job, ConnectionManager>);

async fn job(job: Job) -> Result<u64, BoxDynError> {
    started(job.submitted_us);
    Ok(job.submitted_us)
}

impl Peer for Apalis {
    fn about() -> Value {
        json!({
            "version": format!("apalis {}, apalis-redis {}", version("apalis"), version("apalis-redis")),
            // With 8,000 due at once its worker ends: "too many results to unpack".
            "jobs": 7000,
            "settings": "push_bulk of 1000; one worker, concurrency 100, batches of 100, polls every 10 ms",
            "accepted": "written by Redis, synced every second",
            "acknowledged": "after it ran, with the result, by script; a heartbeat guards it",
            "result": "in Redis",
            "lacks": "no broker: a crash of the machine takes up to a second of accepted jobs",
        })
    }

    async fn connect() -> Result<Self> {
        let connection = apalis_redis::connect(std::env::var("PEERS_REDIS")?).await?;
        let config = Config::default().queue("peer-apalis").batch_size(BATCH);
        Ok(Self(RedisStorage::new(connection).with_config(config)))
    }

    async fn submit(&self, jobs: usize) -> Result<()> {
        let mut storage = self.0.clone();
        for slice in (0..jobs).step_by(1000) {
            let bulk = (slice..jobs.min(slice + 1000)).map(|_| Job {
                submitted_us: now_us(),
                padding: ".".repeat(PADDING),
            });
            storage.push_bulk(bulk.collect()).await?;
        }
        Ok(())
    }

    async fn work(&self) -> Result<()> {
        let worker = WorkerBuilder::new(format!("peer-{}", std::process::id()))
            .backend(self.0.clone().poll_with_interval(POLL))
            .concurrency(CONCURRENCY)
            .parallelize(tokio::spawn)
            .build(job);
        Ok(worker.run().await?)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    haul_peers::main::<Apalis>().await
}
