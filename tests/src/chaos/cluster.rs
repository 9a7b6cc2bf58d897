//! What the nightly form plays on: three nodes of RabbitMQ, and two of Redis that three Sentinels
//! watch.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use haul_common::connect::Urls;
use tokio::time::{Instant, sleep};

use super::stage::{NAMESPACE, Shared};
use crate::servers::Server;

const NODES: usize = 3;
/// A change of the primary that takes longer is none.
const FAIL_OVER: Duration = Duration::from_secs(30);

/// Servers that stand in for each other.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Shared>,
    servers: Vec<Shared>,
    sentinels: Vec<Server>,
    // After the nodes, which are told from it where the others are.
    _epmd: Server,
}

impl Cluster {
    /// Starts them all.
    pub fn start() -> Self {
        let epmd = Server::epmd();
        let meet = format!("epmd={}", epmd.port());
        // Who stands still is out after 8 s, and whoever sees no majority stops by itself.
        let settings = [
            &*meet,
            "net_ticktime=8",
            "cluster_partition_handling=pause_minority",
            "consumer_timeout=120000",
        ];
        let nodes: Vec<Server> = (0..NODES).map(|_| Server::rabbitmq(&settings)).collect();
        for node in &nodes[1..] {
            node.ctl(&["stop_app"]);
            node.ctl(&["join_cluster", &nodes[0].node()]);
            node.ctl(&["start_app"]);
        }
        let primary = Server::redis(&["appendfsync=everysec"]);
        let of = format!("replicaof=127.0.0.1 {}", primary.port());
        let replica = Server::redis(&["appendfsync=everysec", &of]);
        let watched = format!("primary={}", primary.port());
        let share = |server| Arc::new(Mutex::new(server));
        Self {
            sentinels: (0..3).map(|_| Server::sentinel(&watched)).collect(),
            nodes: nodes.into_iter().map(share).collect(),
            servers: [primary, replica].map(share).into(),
            _epmd: epmd,
        }
    }

    /// All nodes, and all Sentinels.
    pub fn urls(&self) -> Urls {
        let nodes: Vec<String> = self.nodes.iter().map(address).collect();
        let sentinels: Vec<String> = self.sentinels.iter().map(Server::address).collect();
        Urls {
            broker: format!("amqp://guest:guest@{}/%2f", nodes.join(",")),
            store: Some(format!("redis+sentinel://{}/main/0", sentinels.join(","))),
            namespace: Some(NAMESPACE.to_owned()),
        }
    }

    /// A node that answers questions.
    pub fn node(&self) -> Shared {
        self.nodes[0].clone()
    }

    /// The node that leads this queue.
    pub fn leader(&self, queue: &str) -> Result<Shared> {
        let columns = ["list_queues", "--no-table-headers", "name", "leader"];
        let said = self.nodes[0].lock().unwrap().ctl(&columns);
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        let leader = line.with_context(|| format!("{queue} has no leader"))?;
        let is_it = |node: &&Shared| node.lock().unwrap().node() == leader.trim();
        let node = self.nodes.iter().find(is_it);
        Ok(node.with_context(|| format!("who is {leader}?"))?.clone())
    }

    /// The Redis that the Sentinels name.
    ///
    /// # Errors
    /// When they do not answer.
    pub async fn primary(&self) -> Result<Shared> {
        let url = self.sentinels[0].url();
        let mut sentinel = redis::Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        let (_, port): (String, u16) = redis::cmd("SENTINEL")
            .arg(&["get-master-addr-by-name", "main"])
            .query_async(&mut sentinel)
            .await?;
        let is_it = |server: &&Shared| server.lock().unwrap().port() == port;
        let primary = self.servers.iter().find(is_it);
        Ok(primary.context("the Sentinels name a stranger")?.clone())
    }

    /// Waits until the Sentinels name another one.
    ///
    /// # Errors
    /// When they do not within half a minute.
    pub async fn fails_over(&self, from: &Shared) -> Result<()> {
        let end = Instant::now() + FAIL_OVER;
        while Arc::ptr_eq(&self.primary().await?, from) {
            anyhow::ensure!(Instant::now() < end, "the Sentinels chose no other primary");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

fn address(server: &Shared) -> String {
    server.lock().unwrap().address()
}
