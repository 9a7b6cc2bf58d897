//! Real brokers and stores for a test, empty, and gone with it.
//!
//! RabbitMQ: a random namespace in one virtual host. Measured on two quiet cores: making a virtual
//! host takes the server 13 ms, but only `rabbitmqctl` or the management plugin can ask for it, and
//! `rabbitmqctl` takes 0.5 s for each call, 1 to 2 s on a busy machine, as much as a whole test.
//! A namespace isolates just as well, for no name is outside it, needs no plugin, and works with a
//! broker that was given from outside. Tests whose names are fixed, as those of clients in other
//! languages, take a [`virtual_host`].
//!
//! Redis: a random namespace. SQLite: a file in a temporary folder.

use std::{
    env,
    fmt::Debug,
    future::Future,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use haul_common::{
    connect::Backend,
    faults::{FaultyBroker, FaultyStore, Plan},
    job::{Lane, QueueName},
    ports::{Broker, Store},
    rabbitmq::RabbitMq,
    redis::RedisStore,
    sqlite::Sqlite,
    wire::topology::{DELAY_LEVELS, Namespace},
};
use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};

use crate::servers;

/// Queues that tests use: those that are deleted after them.
pub const QUEUES: [&str; 3] = ["mail", "images", "default"];

/// A backend, and what has to go when the test is over.
#[derive(Debug)]
pub struct Fixture<T: ?Sized> {
    /// The backend.
    pub it: Arc<T>,
    _after: Vec<Box<dyn After>>,
}

impl<T: ?Sized> Fixture<T> {
    /// A backend with nothing to clean up beyond it.
    pub fn new(it: Arc<T>) -> Self {
        Self {
            it,
            _after: Vec::new(),
        }
    }

    /// Keeps `after` for as long as the backend.
    #[must_use]
    pub fn with(mut self, after: impl After) -> Self {
        self._after.push(Box::new(after));
        self
    }
}

/// Something whose drop cleans up.
pub trait After: Debug + Send + Sync + 'static {}
impl<T: Debug + Send + Sync + 'static> After for T {}

/// A setting from `tests/run`.
///
/// # Panics
/// When it is missing: a test without its server has to fail, not to be skipped.
pub fn setting(name: &str) -> String {
    env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run tests with `tests/run -- [FILTER]`"))
}

/// URL of the RabbitMQ.
pub fn amqp_url() -> String {
    setting("HAUL_TEST_AMQP")
}

/// URL of the Redis.
pub fn redis_url() -> String {
    setting("HAUL_TEST_REDIS")
}

/// A namespace that nobody else has.
pub fn namespace() -> Namespace {
    Namespace::new(&format!("t-{:x}", random())).unwrap()
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Every `RandomState` is keyed anew.
    let mut hasher = RandomState::new().build_hasher();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    hasher.write_u128(now.map_or(0, |since| since.as_nanos()));
    hasher.finish()
}

/// RabbitMQ as broker.
pub async fn rabbitmq() -> Fixture<dyn Broker> {
    rabbitmq_at(amqp_url(), namespace()).await
}

/// RabbitMQ as broker, at a URL, in a namespace that is deleted afterwards.
pub async fn rabbitmq_at(url: String, namespace: Namespace) -> Fixture<dyn Broker> {
    let broker = RabbitMq::connect(&url, namespace.clone()).await.unwrap();
    Fixture::new(broker as Arc<dyn Broker>).with(Topology { url, namespace })
}

/// Redis as store.
pub async fn redis() -> Fixture<dyn Store> {
    redis_at(redis_url(), namespace()).await
}

/// Redis as store, at a URL, in a namespace that is deleted afterwards.
pub async fn redis_at(url: String, namespace: Namespace) -> Fixture<dyn Store> {
    let store = RedisStore::connect(&url, namespace.clone()).await.unwrap();
    Fixture::new(store as Arc<dyn Store>).with(Keys { url, namespace })
}

/// SQLite, with its file.
async fn sqlite() -> (Arc<Sqlite>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(&dir.path().join("haul.db")).await.unwrap();
    (sqlite, dir)
}

/// SQLite as broker.
pub async fn sqlite_broker() -> Fixture<dyn Broker> {
    let (sqlite, dir) = sqlite().await;
    Fixture::new(sqlite as Arc<dyn Broker>).with(dir)
}

/// SQLite as store.
pub async fn sqlite_store() -> Fixture<dyn Store> {
    let (sqlite, dir) = sqlite().await;
    Fixture::new(sqlite as Arc<dyn Store>).with(dir)
}

/// SQLite as broker, behind the fault-injecting wrapper with no fault planned.
pub async fn faulty_broker() -> Fixture<dyn Broker> {
    let Fixture { it, _after } = sqlite_broker().await;
    let it = FaultyBroker::new(it, Plan::new()) as Arc<dyn Broker>;
    Fixture { it, _after }
}

/// SQLite as store, behind the fault-injecting wrapper with no fault planned.
pub async fn faulty_store() -> Fixture<dyn Store> {
    let Fixture { it, _after } = sqlite_store().await;
    let it = FaultyStore::new(it, Plan::new()) as Arc<dyn Store>;
    Fixture { it, _after }
}

/// A broker and a store that belong together, and what has to go after them.
#[derive(Debug)]
pub struct Pair {
    /// Both.
    pub backend: Backend,
    _after: Vec<Box<dyn After>>,
}

/// A fleet: RabbitMQ and Redis.
pub async fn fleet() -> Pair {
    let (broker, store) = (rabbitmq().await, redis().await);
    Pair {
        backend: Backend {
            broker: broker.it.clone(),
            store: store.it.clone(),
            embedded: false,
        },
        _after: vec![Box::new(broker), Box::new(store)],
    }
}

/// Embedded: one SQLite file.
pub async fn embedded() -> Pair {
    let (sqlite, dir) = sqlite().await;
    Pair {
        backend: Backend {
            broker: sqlite.clone(),
            store: sqlite,
            embedded: true,
        },
        _after: vec![Box::new(dir)],
    }
}

/// A virtual host of the RabbitMQ that `tests/run` started; deleted when dropped.
#[derive(Debug)]
pub struct VirtualHost {
    name: String,
}

/// Makes a [`VirtualHost`]. Takes a second: for tests whose names are fixed.
pub fn virtual_host() -> VirtualHost {
    let name = format!("t-{:x}", random());
    servers::rabbitmqctl(&["add_vhost", &name]);
    servers::rabbitmqctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]);
    VirtualHost { name }
}

impl VirtualHost {
    /// Its URL.
    pub fn url(&self) -> String {
        let mut url: url::Url = amqp_url().parse().unwrap();
        url.set_path(&self.name);
        url.into()
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        if !thread::panicking() {
            servers::rabbitmqctl(&["delete_vhost", &self.name]);
        }
    }
}

/// Deletes the keys of a namespace when dropped.
#[derive(Debug)]
struct Keys {
    url: String,
    namespace: Namespace,
}

impl Drop for Keys {
    fn drop(&mut self) {
        let (url, pattern) = (
            self.url.clone(),
            format!("{{{}}}:*", self.namespace.as_str()),
        );
        clean_up(async move {
            let client = redis::Client::open(url)?;
            let mut redis = client.get_multiplexed_async_connection().await?;
            let keys: Vec<String> = redis::cmd("KEYS")
                .arg(pattern)
                .query_async(&mut redis)
                .await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK")
                    .arg(keys)
                    .exec_async(&mut redis)
                    .await?;
            }
            Ok(())
        });
    }
}

/// Deletes the queues and exchanges of a namespace when dropped.
#[derive(Debug)]
struct Topology {
    url: String,
    namespace: Namespace,
}

impl Topology {
    fn queues(&self) -> Vec<String> {
        let ns = &self.namespace;
        let mut queues: Vec<String> = (0..DELAY_LEVELS).map(|n| ns.delay(n)).collect();
        for queue in QUEUES {
            let queue: QueueName = queue.parse().unwrap();
            queues.extend(Lane::ALL.map(|lane| ns.work_queue(&queue, lane)));
            queues.push(ns.dead_queue(&queue));
        }
        queues.push(ns.unrouted());
        queues
    }

    fn exchanges(&self) -> Vec<String> {
        let ns = &self.namespace;
        let mut exchanges: Vec<String> = (0..DELAY_LEVELS).map(|n| ns.delay(n)).collect();
        exchanges.extend([ns.jobs(), ns.due(), ns.dead(), ns.unrouted()]);
        exchanges
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        let (url, queues, exchanges) = (self.url.clone(), self.queues(), self.exchanges());
        clean_up(async move {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            // Deleting what is not there is fine for RabbitMQ.
            for name in &queues {
                let options = QueueDeleteOptions::default();
                channel.queue_delete(name.as_str().into(), options).await?;
            }
            for name in &exchanges {
                let options = ExchangeDeleteOptions::default();
                channel
                    .exchange_delete(name.as_str().into(), options)
                    .await?;
            }
            connection.close(200, "done".into()).await?;
            Ok(())
        });
    }
}

/// Runs `work` to its end from within a drop, beside the test's runtime, which may be shutting
/// down. Failing is fine: the server may be gone, and it is private.
fn clean_up(work: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await? })
    });
    let _: Result<anyhow::Result<()>, _> = thread.join();
}
