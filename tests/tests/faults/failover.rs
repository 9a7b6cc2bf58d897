//! A Redis with Sentinels, whose primary stands still until another one has taken its place.

use std::{sync::Arc, time::Duration};

use haul_common::{
    ports::{Created, Store},
    redis::RedisStore,
    wire::topology::Namespace,
};
use haul_tests::{
    jobs::{record, spec},
    servers::Server,
    wait::eventually,
};
use redis::Commands;
use tokio::task::spawn_blocking;

/// Sentinels take two seconds to doubt, and one or two to agree.
const AGREED: Duration = Duration::from_secs(30);
const SENTINELS: usize = 3;

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

    fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(Server::address).collect();
        format!("redis+sentinel://{}/main/0", sentinels.join(","))
    }

    /// Whether every Sentinel names the replica: before, which one is heard of first is chance.
    fn is_switched(&self) -> bool {
        let names_it = |sentinel: &Server| -> redis::RedisResult<bool> {
            let mut sentinel = redis::Client::open(sentinel.url())?.get_connection()?;
            let (_, port): (String, u16) = redis::cmd("SENTINEL")
                .arg(&["get-master-addr-by-name", "main"])
                .query(&mut sentinel)?;
            Ok(port == self.replica.port())
        };
        self.sentinels
            .iter()
            .all(|it| names_it(it).unwrap_or(false))
    }
}

/// It would take writes for another ten seconds, and forget them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_that_wakes_up_is_told_nothing() {
    let watched = Arc::new(spawn_blocking(Watched::start).await.unwrap());
    let namespace = Namespace::new("failover").unwrap();
    let store = RedisStore::connect(&watched.url(), namespace)
        .await
        .unwrap();
    let before = store.create(vec![record(spec("mail", 1))]).await.unwrap();
    assert_eq!(before, [Created::New]);

    watched.primary.pause();
    eventually("the Sentinels to agree on another one", AGREED, || async {
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
    let after = record(spec("mail", 2));
    eventually("a record to be written", AGREED, || async {
        store.create(vec![after.clone()]).await.map(drop)
    })
    .await;

    let mut replica = redis::Client::open(watched.replica.url()).unwrap();
    let kept: bool = replica
        .exists(format!("{{failover}}:job:{}", after.spec.id))
        .unwrap();
    assert!(kept, "it was written where it will be forgotten");
    store.close().await;
}
