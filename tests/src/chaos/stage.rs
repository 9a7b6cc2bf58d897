//! What a run plays on: private servers, or one file; and ways around the faults.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, ensure};
use haul_common::{connect::Urls, wire::topology::Namespace};
use haul_producer::Producer;
use lapin::{ConnectionProperties, options::BasicGetOptions};

use super::{
    cluster::Cluster,
    fleet::Links,
    load::{QUEUE, number},
};
use crate::servers::Server;

/// The namespace of all runs: their servers are their own.
pub(super) const NAMESPACE: &str = "chaos";

/// A server that several tasks restart, one at a time.
pub type Shared = Arc<Mutex<Server>>;

/// What a run plays on.
#[derive(Debug)]
pub enum Stage {
    /// Servers.
    Fleet {
        /// RabbitMQ.
        rabbit: Shared,
        /// Redis.
        redis: Shared,
        /// The disk that Redis writes to, where this machine lets us make one.
        disk: Option<Disk>,
    },
    /// Servers that stand in for each other.
    Cluster(Cluster),
    /// One file.
    Embedded {
        /// The file.
        file: PathBuf,
        /// The disk that it is on.
        disk: Option<Disk>,
    },
}

impl Stage {
    /// Private servers. `small_disk` asks for a disk of its own for Redis.
    pub fn fleet(small_disk: bool) -> Self {
        let rabbit = Server::rabbitmq(&["consumer_timeout=120000"]);
        let mut redis = Server::redis(&["appendfsync=everysec"]);
        let disk = small_disk
            .then(|| {
                redis.stop();
                let disk = Disk::mount(&redis.dir().join("data")).ok();
                redis.start();
                disk
            })
            .flatten();
        Self::Fleet {
            rabbit: Arc::new(Mutex::new(rabbit)),
            redis: Arc::new(Mutex::new(redis)),
            disk,
        }
    }

    /// One file below `dir`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn embedded(dir: &Path, small_disk: bool) -> Result<Self> {
        let place = dir.join("disk");
        fs::create_dir_all(&place)?;
        Ok(Self::Embedded {
            disk: small_disk.then(|| Disk::mount(&place).ok()).flatten(),
            file: place.join("haul.db"),
        })
    }

    /// Proxies for one more process; none for a file.
    pub async fn links(&self) -> Option<Links> {
        let Self::Fleet { rabbit, redis, .. } = self else {
            return None;
        };
        let (amqp, redis) = (address(rabbit), address(redis));
        Some(Links::to(&amqp, &redis).await)
    }

    /// URLs by way of these proxies; straight to the servers without.
    pub fn urls(&self, links: Option<&Links>) -> Urls {
        use super::act::Link::{Amqp, Redis};
        match self {
            Self::Embedded { file, .. } => {
                Urls::from(format!("sqlite:{}", file.display()).as_str())
            }
            Self::Cluster(cluster) => cluster.urls(),
            Self::Fleet { rabbit, redis, .. } => {
                let amqp = links.map_or_else(|| address(rabbit), |l| l.link(Amqp).address());
                let store = links.map_or_else(|| address(redis), |l| l.link(Redis).address());
                Urls {
                    broker: rabbit.lock().unwrap().url_at(&amqp),
                    store: Some(redis.lock().unwrap().url_at(&store)),
                    namespace: Some(NAMESPACE.to_owned()),
                }
            }
        }
    }

    /// A producer by way of these proxies.
    ///
    /// # Errors
    /// When it cannot connect.
    pub async fn producer(&self, links: Option<&Links>) -> Result<Producer> {
        Ok(Producer::connect(self.urls(links)).await?)
    }

    /// Queues of the broker that are not empty, as it tells; nothing for a file.
    pub async fn left(&self) -> String {
        let Some(rabbit) = self.rabbit() else {
            return String::new();
        };
        let list = move || {
            let columns = ["name", "messages_ready", "messages_unacknowledged"];
            let rabbit = rabbit.lock().unwrap();
            rabbit.ctl(&[&["list_queues", "--no-table-headers"], &columns[..]].concat())
        };
        let all = tokio::task::spawn_blocking(list).await.unwrap_or_default();
        let left = all.lines().filter(|line| !line.ends_with("\t0\t0"));
        left.collect::<Vec<_>>().join("\n")
    }

    /// Jobs that the queue of dead letters holds; none for a file, which forgets nothing.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub async fn dead_letters(&self) -> Result<BTreeSet<u64>> {
        let Some(rabbit) = self.rabbit() else {
            return Ok(BTreeSet::new());
        };
        let url = rabbit.lock().unwrap().url();
        let connection = lapin::Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let queue = Namespace::new(NAMESPACE)?.dead_queue(&QUEUE.parse()?);
        let mut jobs = BTreeSet::new();
        let options = BasicGetOptions { no_ack: false };
        while let Some(letter) = channel.basic_get(queue.clone().into(), options).await? {
            let id = letter.properties.message_id().as_ref();
            jobs.extend(id.and_then(|id| number(id.as_str())));
        }
        // None is acknowledged: all go back.
        connection.close(200, "seen".into()).await?;
        Ok(jobs)
    }

    /// A RabbitMQ that answers questions.
    fn rabbit(&self) -> Option<Shared> {
        match self {
            Self::Fleet { rabbit, .. } => Some(rabbit.clone()),
            Self::Cluster(cluster) => Some(cluster.node()),
            Self::Embedded { .. } => None,
        }
    }

    /// The small disk.
    pub const fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Fleet { disk, .. } | Self::Embedded { disk, .. } => disk.as_ref(),
            Self::Cluster(_) => None,
        }
    }
}

fn address(server: &Shared) -> String {
    server.lock().unwrap().address()
}

/// What a process finds in its environment to use these URLs.
pub fn env(urls: Urls) -> Vec<(String, String)> {
    let mut env = vec![("HAUL_BROKER".to_owned(), urls.broker)];
    env.extend(urls.store.map(|url| ("HAUL_STORE".to_owned(), url)));
    env.extend(
        urls.namespace
            .map(|name| ("HAUL_NAMESPACE".to_owned(), name)),
    );
    env
}

/// A disk in memory that can be made full at once, by making it as small as what is on it.
#[derive(Debug)]
pub struct Disk(PathBuf);

const ROOMY: &str = "size=8g";

impl Disk {
    fn mount(place: &Path) -> Result<Self> {
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", ROOMY, "tmpfs"])
            .arg(place))?;
        Ok(Self(place.to_owned()))
    }

    /// Next to no room is left.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn fill(&self) -> Result<()> {
        let mut last = Ok(());
        // It grows meanwhile, and cannot be made smaller than what is on it.
        for spare_pages in [16, 64, 256, 1024] {
            let size = (self.used_pages()? + spare_pages) * 4096;
            last = self.resize(&format!("size={size}"));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn used_pages(&self) -> Result<u64> {
        let said = Command::new("df")
            .args(["-B4096", "--output=used"])
            .arg(&self.0)
            .output()?;
        let said = String::from_utf8(said.stdout)?;
        let used = said.lines().last().context("df said nothing")?;
        Ok(used.trim().parse()?)
    }

    /// There is room again.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn free(&self) -> Result<()> {
        self.resize(ROOMY)
    }

    fn resize(&self, size: &str) -> Result<()> {
        let how = format!("remount,{size}");
        run(Command::new("mount").args(["-o", &how]).arg(&self.0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {why}");
    Ok(())
}
