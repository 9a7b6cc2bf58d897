//! A worker of the chaos suite, in a process of its own.
//!
//! Takes `HAUL_BROKER`, `HAUL_STORE` and `HAUL_NAMESPACE` like every worker. Arguments: slots,
//! guard after (ms), and the ledger's file. SIGTERM drains it.

use std::{env, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use haul_common::connect::Urls;
use haul_tests::chaos::{
    ledger::Log,
    load::{QUEUE, work},
};
use haul_worker::Worker;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(env::var("RUST_LOG").unwrap_or_else(|_| "info,lapin=off".to_owned()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let args: Vec<String> = env::args().skip(1).collect();
    let [slots, guard_ms, ledger] = args.as_slice() else {
        bail!("chaos-worker SLOTS GUARD_MS LEDGER");
    };
    let urls = Urls {
        broker: env::var("HAUL_BROKER").context("HAUL_BROKER")?,
        store: env::var("HAUL_STORE").ok(),
        namespace: env::var("HAUL_NAMESPACE").ok(),
    };
    Worker::connect(urls)
        .await?
        .queue(QUEUE, slots.parse()?)
        .guard_after(Duration::from_millis(guard_ms.parse()?))
        .state(Log::open(Path::new(ledger))?)
        .handle(work)
        .run()
        .await?;
    Ok(())
}
