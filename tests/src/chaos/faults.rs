//! What is done to the fleet, and how.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{
    act::{Act, Link},
    aof,
    evidence::Hit,
    fleet::{Events, Fleet, Links},
    ledger::now_us,
    plan::Step,
    stage::{Shared, Stage},
    torn,
};
use crate::{proxy::Mode, servers::Server};

/// All that acts need.
#[derive(Debug)]
pub struct Hands {
    /// Where it plays.
    pub stage: Stage,
    /// The workers.
    pub fleet: Arc<Fleet>,
    /// Of each worker, then of the producer; none for a file.
    pub links: Vec<Links>,
    /// What was done.
    pub events: Arc<Events>,
    /// Where the evidence goes.
    pub dir: std::path::PathBuf,
    /// Violations that are seen at once.
    pub seen: std::sync::Mutex<Vec<String>>,
}

/// The worker whose clock can be set.
pub const CLOCK_WORKER: usize = 0;
/// The offset of its clock, within the folder of the run.
pub const CLOCK_FILE: &str = "clock";
/// What sets the clock of a process.
pub const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// How long a server may take over a command of ours.
const PATIENCE: Duration = Duration::from_secs(30);
/// A crash point that is not reached within this time is not waited for.
const REACHED: Duration = Duration::from_secs(5);
/// A worker that drains longer than its grace is not waited for.
const DRAIN: Duration = Duration::from_secs(40);
/// The queue whose leader is hit.
const LED: &str = "chaos.q.default.normal";

impl Hands {
    /// Does these, one after the other, none before its time.
    ///
    /// # Errors
    /// When something could not be done.
    pub async fn play(self: Arc<Self>, began: Instant, steps: Vec<Step>) -> Result<()> {
        for (at, act) in steps {
            sleep_until(began + at).await;
            self.act(&act).await.with_context(|| format!("{act:?}"))?;
        }
        Ok(())
    }

    async fn act(&self, act: &Act) -> Result<()> {
        match *act {
            Act::Kill { worker, back_ms } => self.kill(worker, back_ms).await,
            Act::Point { worker, point } => self.crash_at(worker, point).await,
            Act::Pause { worker, ms } => self.pause(worker, ms).await,
            Act::Cut {
                worker,
                link,
                mode,
                ms,
            } => self.cut(worker, link, mode, ms).await,
            Act::Clock { seconds, ms } => self.clock(seconds, ms).await?,
            Act::FullDisk { ms } => self.full_disk(ms).await?,
            Act::Torn { cut } => self.torn(cut).await?,
            Act::LeaderKill | Act::LeaderPause { .. } | Act::PrimaryGone { .. } => {
                self.cluster(act).await?;
            }
            Act::Upgrade => self.upgrade().await,
            _ => self.server(act).await?,
        }
        Ok(())
    }

    async fn kill(&self, worker: usize, back_ms: u64) {
        let Some(worker) = self.fleet.healthy(worker) else {
            return;
        };
        self.fleet.kill(worker);
        sleep(Duration::from_millis(back_ms)).await;
        self.fleet.spawn(worker, &[]);
    }

    async fn crash_at(&self, worker: usize, point: &'static str) {
        let Some(worker) = self.fleet.healthy(worker) else {
            return;
        };
        self.fleet.kill(worker);
        self.fleet
            .spawn(worker, &[("HAUL_CRASH_AT", point.to_owned())]);
        let process = self.fleet.process(worker);
        let end = Instant::now() + REACHED;
        while self.fleet.process(worker) == process && Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn pause(&self, worker: usize, ms: u64) {
        let Some(worker) = self.fleet.healthy(worker) else {
            return;
        };
        let (process, from) = (self.fleet.process(worker), now_us());
        self.fleet.pause(worker);
        sleep(Duration::from_millis(ms)).await;
        self.fleet.resume(worker);
        self.events.happened(Hit::Paused(process), from, "SIGSTOP");
    }

    async fn cut(&self, worker: usize, link: Link, mode: Mode, ms: u64) {
        let proxy = self.links[worker].link(link);
        let (before, from) = (self.connected(worker), now_us());
        if mode == Mode::Reset {
            proxy.cut().await;
        } else {
            proxy.set(mode);
            sleep(Duration::from_millis(ms)).await;
            // What went nowhere cannot be made up for: such a connection is over.
            proxy.cut().await;
        }
        // It may have been killed meanwhile: this hit the first and the last of them.
        let mut processes = vec![before, self.connected(worker)];
        processes.dedup();
        for process in processes {
            let hit = match link {
                Link::Amqp => Hit::NoBroker(process),
                Link::Redis => Hit::NoStore(process),
            };
            self.events.happened(hit, from, format!("{mode:?}"));
        }
    }

    /// The process that these connections are of.
    fn connected(&self, worker: usize) -> String {
        if worker < self.fleet.len() {
            self.fleet.process(worker)
        } else {
            "producer".to_owned()
        }
    }

    async fn clock(&self, seconds: i64, ms: u64) -> Result<()> {
        let file = self.dir.join(CLOCK_FILE);
        let (process, from) = (self.fleet.process(CLOCK_WORKER), now_us());
        fs::write(&file, format!("{seconds:+}\n"))?;
        sleep(Duration::from_millis(ms)).await;
        fs::write(&file, "+0\n")?;
        let what = format!("clock {seconds:+} s");
        self.events.happened(Hit::Clock(process), from, what);
        Ok(())
    }

    async fn full_disk(&self, ms: u64) -> Result<()> {
        let Some(disk) = self.stage.disk() else {
            tracing::warn!("no disk can be filled here: mount is not allowed");
            return Ok(());
        };
        let from = now_us();
        disk.fill()?;
        sleep(Duration::from_millis(ms)).await;
        disk.free()?;
        self.events.happened(Hit::Store, from, "full disk");
        Ok(())
    }

    async fn torn(&self, cut: Option<f64>) -> Result<()> {
        let Stage::Embedded { file, .. } = &self.stage else {
            return Ok(());
        };
        let wrong = torn::look(file, &self.dir, cut).await?;
        self.seen.lock().unwrap().extend(wrong);
        Ok(())
    }

    async fn cluster(&self, act: &Act) -> Result<()> {
        let Stage::Cluster(cluster) = &self.stage else {
            return Ok(());
        };
        let from = now_us();
        let hits = match *act {
            Act::PrimaryGone { kill } => {
                let primary = cluster.primary().await?;
                if kill {
                    with(&primary, |server| server.kill()).await?;
                    cluster.fails_over(&primary).await?;
                    with(&primary, Server::start).await?;
                } else {
                    with(&primary, |server| server.pause()).await?;
                    cluster.fails_over(&primary).await?;
                    with(&primary, |server| server.resume()).await?;
                }
                // What the other one had not been told yet is gone.
                vec![Hit::Store, Hit::Rollback]
            }
            Act::LeaderPause { ms } => {
                let leader = cluster.leader(LED)?;
                with(&leader, |node| node.pause()).await?;
                sleep(Duration::from_millis(ms)).await;
                with(&leader, |node| node.resume()).await?;
                vec![Hit::Broker]
            }
            _ => {
                with(&cluster.leader(LED)?, restart).await?;
                vec![Hit::Broker]
            }
        };
        for hit in hits {
            self.events.happened(hit, from, format!("{act:?}"));
        }
        Ok(())
    }

    /// One worker after the other drains, and is replaced.
    async fn upgrade(&self) {
        for worker in 0..self.fleet.len() {
            let process = self.fleet.process(worker);
            self.fleet.drain(worker);
            let end = Instant::now() + DRAIN;
            while self.fleet.process(worker) == process && Instant::now() < end {
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn server(&self, act: &Act) -> Result<()> {
        let Stage::Fleet { rabbit, redis, .. } = &self.stage else {
            return Ok(());
        };
        let from = now_us();
        let mut older = matches!(act, Act::RedisTruncate { .. } | Act::RedisFlush);
        match *act {
            Act::RabbitKill => with(rabbit, restart).await?,
            Act::RabbitStopApp => {
                with(rabbit, |rabbit| {
                    rabbit.ctl(&["stop_app"]);
                    rabbit.ctl(&["start_app"]);
                })
                .await?;
            }
            Act::RabbitPause { ms } => {
                with(rabbit, |rabbit| rabbit.pause()).await?;
                sleep(Duration::from_millis(ms)).await;
                with(rabbit, |rabbit| rabbit.resume()).await?;
            }
            Act::Alarm { memory, ms } => alarm(rabbit, memory, ms).await?,
            Act::RedisKill => older |= restart_redis(redis, 0).await?,
            Act::RedisShutdown => {
                // It does not answer this.
                let _ = command(redis, &["SHUTDOWN", "NOSAVE"]).await;
                older |= restart_redis(redis, 0).await?;
            }
            Act::RedisTruncate { bytes } => older |= restart_redis(redis, bytes).await?,
            Act::RedisFlush => command(redis, &["FLUSHALL"]).await?,
            Act::RedisSlow { ms } => {
                command(redis, &["CLIENT", "PAUSE", &ms.to_string(), "ALL"]).await?;
                sleep(Duration::from_millis(ms)).await;
            }
            _ => {}
        }
        let broker = matches!(
            act,
            Act::RabbitKill | Act::RabbitStopApp | Act::RabbitPause { .. } | Act::Alarm { .. }
        );
        let hit = if broker { Hit::Broker } else { Hit::Store };
        self.events.happened(hit, from, format!("{act:?}"));
        if older {
            self.events
                .happened(Hit::Rollback, from, format!("{act:?}"));
        }
        Ok(())
    }
}

/// Does something slow with a server.
async fn with<T: Send + 'static>(
    server: &Shared,
    act: impl FnOnce(&mut Server) -> T + Send + 'static,
) -> Result<T> {
    let server = server.clone();
    Ok(spawn_blocking(move || act(&mut server.lock().unwrap())).await?)
}

fn restart(server: &mut Server) {
    server.kill();
    server.start();
}

/// So many bytes of its file are gone then. Whether more had to go before it started.
async fn restart_redis(redis: &Shared, lost: u64) -> Result<bool> {
    with(redis, move |redis| {
        redis.kill();
        if lost > 0 {
            aof::truncate(redis, lost)?;
        }
        aof::start(redis)
    })
    .await?
}

async fn alarm(rabbit: &Shared, memory: bool, ms: u64) -> Result<()> {
    let (set, low, well): (_, &[&str], &[&str]) = if memory {
        ("set_vm_memory_high_watermark", &["0"], &["absolute", "1GB"])
    } else {
        ("set_disk_free_limit", &["9000000000000"], &["50000000"])
    };
    let (low, well) = ([&[set], low].concat(), [&[set], well].concat());
    with(rabbit, move |rabbit| rabbit.ctl(&low)).await?;
    sleep(Duration::from_millis(ms)).await;
    with(rabbit, move |rabbit| rabbit.ctl(&well)).await?;
    Ok(())
}

async fn command(redis: &Shared, words: &[&str]) -> Result<()> {
    let url = redis.lock().unwrap().url();
    // To forget half a million jobs takes longer than the half second that the library waits.
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection_with_config(&patient)
        .await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    Ok(command.query_async(&mut connection).await?)
}
