//! A Redis with Sentinels, whose primary stands still until another one has taken its place.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haul_common::{
    job::JobId,
    ports::{Created, Store},
    redis::RedisStore,
    wire::topology::Namespace,
};
use haul_tests::{
    jobs::{record, spec},
    proxy::Proxy,
    servers::Server,
    wait::eventually,
};
use redis::Commands;
use tokio::task::spawn_blocking;

/// Sentinels take two seconds to doubt, and one or two to agree.
const AGREED: Duration = Duration::from_secs(30);
const SENTINELS: usize = 3;
/// Records that must have been taken by whoever is the primary then.
const WRITTEN: usize = 50;

struct Watched {
    primary: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

impl Watched {
    fn start() -> Self {
        let primary = Server::redis(&[]);
        let of = format!("replicaof=127.0.0.1 {}", primary.port());
        let watched = format!("primary={}", primary.port());
        Self {
            replica: Server::redis(&[&of]),
            sentinels: (0..SENTINELS).map(|_| Server::sentinel(&watched)).collect(),
            primary,
        }
    }

    /// Whether the first Sentinel names the replica. The others may not know yet.
    fn is_switched(&self) -> bool {
        let names_it = |sentinel: &Server| -> redis::RedisResult<bool> {
            let mut sentinel = redis::Client::open(sentinel.url())?.get_connection()?;
            let (_, port): (String, u16) = redis::cmd("SENTINEL")
                .arg(&["get-master-addr-by-name", "main"])
                .query(&mut sentinel)?;
            Ok(port == self.replica.port())
        };
        names_it(&self.sentinels[0]).unwrap_or(false)
    }
}

/// It would take writes until it is told, and forget them all. Somebody is always asking it, so that it
/// is asked in the very moment in which it wakes; and that another one was chosen went unheard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_that_wakes_up_is_told_nothing() {
    let watched = Arc::new(spawn_blocking(Watched::start).await.unwrap());
    let namespace = Namespace::new("failover").unwrap();
    let proxies = join_all(
        watched
            .sentinels
            .iter()
            .map(async |sentinel| Proxy::to(&sentinel.address()).await),
    )
    .await;
    let sentinels: Vec<_> = proxies.iter().map(Proxy::address).collect();
    let url = format!("redis+sentinel://{}/main/0", sentinels.join(","));
    let store = RedisStore::connect(&url, namespace).await.unwrap();
    let create = async |n| store.create(vec![record(spec("mail", n))]).await;
    assert_eq!(create(0).await.unwrap(), [Created::New]);

    watched.primary.pause();
    assert!(create(1).await.is_err(), "it stands still");
    // Sentinels are listened to again some seconds later.
    join_all(proxies.iter().map(Proxy::cut)).await;
    let written = tokio::spawn({
        let store = store.clone();
        async move { writes(&store).await }
    });
    eventually("the Sentinels to name another one", AGREED, || async {
        let watched = watched.clone();
        let switched = spawn_blocking(move || watched.is_switched());
        if switched.await.unwrap() {
            Ok(())
        } else {
            Err("they do not")
        }
    })
    .await;
    watched.primary.resume();
    let written = written.await.unwrap();

    let mut replica = redis::Client::open(watched.replica.url()).unwrap();
    for id in &written {
        let kept: bool = replica.exists(format!("{{failover}}:job:{id}")).unwrap();
        assert!(kept, "{id} was written where it will be forgotten");
    }
    store.close().await;
}

/// Writes one record after the other until some were taken; says which.
async fn writes(store: &RedisStore) -> Vec<JobId> {
    let (mut written, end) = (Vec::new(), Instant::now() + AGREED);
    for n in 2.. {
        assert!(Instant::now() < end, "nothing is written any more");
        let next = record(spec("mail", n));
        match store.create(vec![next.clone()]).await {
            Ok(_) => written.push(next.spec.id),
            Err(error) => tracing::debug!(%error, "asked again"),
        }
        if written.len() == WRITTEN {
            break;
        }
    }
    written
}
