//! A worker in a process of its own, for tests that kill, freeze and cut it.
//!
//! Takes `HAUL_BROKER`, `HAUL_STORE` and `HAUL_NAMESPACE` like every worker. Arguments: queue,
//! slots, guard after (ms), and the ledger's file. Says `ready` on stdout whenever its
//! consumers are attached, and `unready` when one is lost. SIGTERM drains it.
//!
//! `test-worker submit|redrive|lease|fail …` does that once instead, for crashes elsewhere.

use std::{env, io::Write, time::Duration};

use anyhow::{Context as _, Result, bail};
use haul_common::{
    connect::{Backend, DEFAULT_URL, Urls},
    job::Failure,
    life::Ended,
    protocol::Protocol,
};
use haul_producer::Producer;
use haul_tests::worker_process::{LedgerFile, QUEUE, Script, play};
use haul_worker::{Worker, lease};

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
        ["lease", ms] => take(urls, Duration::from_millis(ms.parse()?)).await,
        ["fail", id, token] => fail(urls, id, token).await,
        [queue, slots, guard_ms, ledger] => {
            let guard_after = Duration::from_millis(guard_ms.parse()?);
            work(urls, queue, slots.parse()?, guard_after, ledger).await
        }
        _ => bail!(
            "test-worker QUEUE SLOTS GUARD_MS LEDGER | submit ID SCRIPT | redrive ID | lease MS | \
             fail ID TOKEN"
        ),
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

async fn take(urls: Urls, lease: Duration) -> Result<()> {
    let protocol = Protocol::new(Backend::connect(urls).await?);
    let taken = lease::take(&protocol, &QUEUE.parse()?, lease, Duration::ZERO).await?;
    taken.map(drop).context("nothing was ready")
}

async fn fail(urls: Urls, id: &str, token: &str) -> Result<()> {
    let protocol = Protocol::new(Backend::connect(urls).await?);
    let ended = Ended::Failed(Failure::retry("told to"));
    protocol
        .settle_lease(&id.parse()?, &token.parse()?, ended)
        .await?;
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
