//! A worker in a process of its own, for tests that kill, freeze and cut it.
//!
//! Takes `HAUL_BROKER`, `HAUL_STORE` and `HAUL_NAMESPACE` like every worker. Arguments: queue,
//! slots, guard after (ms), and the ledger's file. Says `ready` on stdout whenever its
//! consumers are attached, and `unready` when one is lost. SIGTERM drains it.
//!
//! `test-worker submit|redrive ID SCRIPT` does that once instead, for crashes in a producer.

use std::{env, io::Write, time::Duration};

use anyhow::{Context as _, Result, bail};
use haul_common::connect::{DEFAULT_URL, Urls};
use haul_producer::Producer;
use haul_tests::worker_process::{LedgerFile, Script, play};
use haul_worker::Worker;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(env::var("RUST_LOG").unwrap_or_else(|_| "info,lapin=off".to_owned()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let urls = Urls {
        broker: env::var("HAUL_BROKER").unwrap_or_else(|_| DEFAULT_URL.to_owned()),
        store: env::var("HAUL_STORE").ok(),
        namespace: env::var("HAUL_NAMESPACE").ok(),
    };
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["submit", id, script] => submit(urls, id, script).await,
        ["redrive", id] => redrive(urls, id).await,
        [queue, slots, guard_ms, ledger] => {
            let guard_after = Duration::from_millis(guard_ms.parse()?);
            work(urls, queue, slots.parse()?, guard_after, ledger).await
        }
        _ => bail!("test-worker QUEUE SLOTS GUARD_MS LEDGER | submit ID SCRIPT | redrive ID"),
    }
}

async fn submit(urls: Urls, id: &str, script: &str) -> Result<()> {
    let script: Script = serde_json::from_str(script)?;
    let producer = Producer::connect(urls).await?;
    producer.submit(script).id(id).await?;
    Ok(())
}

async fn redrive(urls: Urls, id: &str) -> Result<()> {
    let producer = Producer::connect(urls).await?;
    producer.retry(&id.parse()?).await?;
    Ok(())
}

async fn work(
    urls: Urls,
    queue: &str,
    slots: u32,
    guard_after: Duration,
    ledger: &str,
) -> Result<()> {
    let ledger = LedgerFile::open(ledger.as_ref()).context("the ledger")?;
    let running = Worker::connect(urls)
        .await?
        .queue(queue, slots)
        .guard_after(guard_after)
        .state(ledger)
        .handle(play)
        .start()
        .await?;
    running.stop_on_signals();
    let mut readiness = running.readiness();
    tokio::spawn(async move {
        loop {
            let word = if *readiness.borrow_and_update() {
                "ready"
            } else {
                "unready"
            };
            println!("{word}");
            let _ = std::io::stdout().flush();
            if readiness.changed().await.is_err() {
                return;
            }
        }
    });
    running.finished().await?;
    Ok(())
}
