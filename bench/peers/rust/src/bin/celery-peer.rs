//! rusty-celery over RabbitMQ.

// What its macro writes is of an older edition.
#![allow(non_local_definitions)]

use std::sync::Arc;

use anyhow::Result;
use celery::{Celery, prelude::*};
use haul_peers::{PADDING, Peer, now_us, started, version};
use serde_json::{Value, json};

#[derive(Clone)]
struct RustyCelery(Arc<Celery>);

#[celery::task(name = "peer.rusty")]
async fn job(submitted_us: u64, padding: String) -> TaskResult<u64> {
    drop(padding);
    started(submitted_us);
    Ok(submitted_us)
}

impl Peer for RustyCelery {
    fn about() -> Value {
        json!({
            "version": format!("rusty-celery {}, lapin {}", version("celery"), version("lapin")),
            "jobs": 20000,
            "settings": "one producer; one worker, prefetch 256",
            "accepted": "sent, persistent, to a durable classic queue; nothing confirms it",
            "acknowledged": "after it ran (acks late)",
            "result": "none: stores no results",
            "lacks": "no confirms, no quorum queue (its prefetch is for the channel), no results",
        })
    }

    async fn connect() -> Result<Self> {
        // "Recommended that you always set this … IO bound (higher prefetch count is better)":
        // https://docs.rs/celery/0.5.5/celery/struct.CeleryBuilder.html#method.prefetch_count
        let app = celery::app!(
            broker = AMQPBroker { std::env::var("PEERS_AMQP")? },
            tasks = [job],
            task_routes = ["*" => "peer-rusty"],
            default_queue = "peer-rusty",
            prefetch_count = 256,
            acks_late = true,
        );
        Ok(Self(app.await?))
    }

    async fn submit(&self, jobs: usize) -> Result<()> {
        for _ in 0..jobs {
            self.0
                .send_task(job::new(now_us(), ".".repeat(PADDING)))
                .await?;
        }
        Ok(())
    }

    /// It has only handed its messages to the client library until then.
    async fn close(&self) -> Result<()> {
        Ok(self.0.close().await?)
    }

    async fn work(&self) -> Result<()> {
        Ok(self.0.consume().await?)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    haul_peers::main::<RustyCelery>().await
}
