//! What the Rust drivers share: the command line, the clock, and what a driver prints.

use std::{
    future::Future,
    sync::{LazyLock, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, anyhow, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// With what else a job carries, about 200 bytes of arguments.
pub const PADDING: usize = 160;
const PATIENCE: Duration = Duration::from_secs(100);

static STARTS: LazyLock<Mutex<Starts>> = LazyLock::new(Mutex::default);

/// What ran in this process so far.
#[derive(Default)]
struct Starts {
    waits_us: Vec<u64>,
    /// When the first one started, and the processor time until then.
    first: Option<(u64, f64)>,
}

/// Called by each job as it starts.
pub fn started(submitted_us: u64) {
    let now = now_us();
    let mut starts = STARTS.lock().unwrap();
    starts.first.get_or_insert_with(|| (now, cpu_us()));
    starts.waits_us.push(now.saturating_sub(submitted_us));
}

pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// User and system time of this process.
fn cpu_us() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(f64::NAN, |usage| {
        let times = [usage.user_time(), usage.system_time()];
        times
            .iter()
            .map(|time| time.num_microseconds() as f64)
            .sum()
    })
}

/// The version of a package, as it is locked.
pub fn version(package: &str) -> String {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = include_str!("../Cargo.lock")
        .split_once(&entry)
        .unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// A peer, as its driver shows it.
pub trait Peer: Clone + Send + Sync + 'static {
    fn about() -> serde_json::Value;
    fn connect() -> impl Future<Output = Result<Self>> + Send;
    /// As many at once as suits it.
    fn submit(&self, jobs: usize) -> impl Future<Output = Result<()>> + Send;
    /// Once all is submitted, and while the clock runs: nothing is to be lost at the end.
    fn close(&self) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }
    /// Works until it is dropped; every job calls [`started`].
    fn work(&self) -> impl Future<Output = Result<()>>;
}

/// `about`, `submit JOBS`, `work JOBS`, `latency RATE SECONDS`: one JSON line each.
pub async fn main<P: Peer>() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| -> Result<usize> {
        Ok(args
            .get(n)
            .ok_or_else(|| anyhow!("a number is missing"))?
            .parse()?)
    };
    match args.first().map(String::as_str) {
        Some("about") => println!("{}", P::about()),
        Some("submit") => submit(P::connect().await?, number(1)?).await?,
        Some("work") => work(P::connect().await?, number(1)?).await?,
        Some("latency") => latency(P::connect().await?, number(1)?, number(2)?).await?,
        _ => bail!("about, submit JOBS, work JOBS, latency RATE SECONDS"),
    }
    Ok(())
}

async fn submit<P: Peer>(peer: P, jobs: usize) -> Result<()> {
    let (from, cpu) = (now_us(), cpu_us());
    peer.submit(jobs).await?;
    peer.close().await?;
    print(jobs, from, cpu);
    Ok(())
}

/// From the first start to the last: how long a peer takes to boot is left out.
async fn work<P: Peer>(peer: P, jobs: usize) -> Result<()> {
    let measured = async {
        wait_for(jobs).await?;
        let (from, cpu) = STARTS.lock().unwrap().first.unwrap_or_default();
        print(jobs - 1, from, cpu);
        // The last ones are settled meanwhile, so that they do not come again.
        sleep(Duration::from_millis(500)).await;
        Ok(())
    };
    beside_worker(&peer, measured).await
}

async fn latency<P: Peer>(peer: P, rate: usize, seconds: usize) -> Result<()> {
    let jobs = rate * seconds;
    beside_worker(&peer, load(&peer, u32::try_from(rate)?, jobs)).await?;
    let mut waits = STARTS.lock().unwrap().waits_us.split_off(1);
    waits.sort_unstable();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100] as f64 / 1000.0;
    println!(
        "{}",
        json!({ "jobs": jobs, "p50_ms": at(50), "p99_ms": at(99) })
    );
    Ok(())
}

async fn beside_worker<P: Peer>(peer: &P, what: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        ended = peer.work() => bail!("the worker ended: {ended:?}"),
        done = what => done,
    }
}

/// One job first, so that the worker is ready before the clock starts.
async fn load<P: Peer>(peer: &P, rate: u32, jobs: usize) -> Result<()> {
    peer.submit(1).await?;
    wait_for(1).await?;
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut submits = tokio::task::JoinSet::new();
    for _ in 0..jobs {
        ticks.tick().await;
        let peer = peer.clone();
        submits.spawn(async move { peer.submit(1).await });
    }
    while let Some(submitted) = submits.join_next().await {
        submitted??;
    }
    wait_for(jobs + 1).await
}

async fn wait_for(jobs: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let count = STARTS.lock().unwrap().waits_us.len();
        if count >= jobs {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("only {count} of {jobs} jobs ran");
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn print(jobs: usize, from_us: u64, cpu: f64) {
    let cpu = (cpu_us() - cpu) / jobs.max(1) as f64;
    let said = json!({
        "jobs": jobs, "from_us": from_us, "to_us": now_us(), "cpu_us_per_job": cpu,
    });
    println!("{said}");
}
