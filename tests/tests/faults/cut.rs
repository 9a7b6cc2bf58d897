//! Networks that break between a worker and one of its servers.

use std::time::Duration;

use futures_util::future::join_all;
use haul_tests::{
    backends,
    proxy::{Mode, Proxy},
    site::Site,
    wait::{SOON, eventually},
    worker_process::{Settings, WorkerProcess},
};

/// How long the network stays broken: past heartbeats, time-outs and leases.
const BROKEN: Duration = Duration::from_secs(25);
const READY_AGAIN: Duration = Duration::from_secs(30);
const JOBS: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Broker,
    Store,
}

fn host(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

async fn proxied(url: &str) -> (Proxy, String) {
    let proxy = Proxy::to(&host(url)).await;
    let through = url.replace(&host(url), &proxy.address());
    (proxy, through)
}

async fn cut(side: Side, mode: Mode) {
    let (amqp, redis) = (backends::amqp_url(), backends::redis_url());
    let mut site = Site::fleet(&amqp, &redis).await;
    let (to_amqp, amqp) = proxied(&amqp).await;
    let (to_redis, redis) = proxied(&redis).await;
    site.workers_use(&amqp, &redis);
    let worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let ids = site.submit_many(JOBS, &["sleep_ms 400"]).await;
    site.did("start", 6, SOON).await;
    let proxy = match side {
        Side::Broker => &to_amqp,
        Side::Store => &to_redis,
    };
    if mode == Mode::Reset {
        proxy.cut().await;
    } else {
        proxy.set(mode);
        // The length of the outage is the fault itself.
        tokio::time::sleep(BROKEN).await;
        proxy.set(Mode::Pass);
    }
    worker.becomes_ready(READY_AGAIN).await;
    let limit = READY_AGAIN + Duration::from_secs(15);
    eventually("all jobs to end", limit, || async {
        let done = site.ledger().counts("effect").len();
        if done == JOBS {
            Ok(())
        } else {
            Err((side, mode, done, worker.log()))
        }
    })
    .await;
    site.all_succeed(&ids, SOON).await;
    let ledger = site.ledger();
    for id in &ids {
        assert_eq!(
            ledger.count("effect", id),
            1,
            "{side:?} {mode:?}: {id} ran again"
        );
    }
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_network_costs_time_and_no_job() {
    let cuts = [Side::Broker, Side::Store]
        .into_iter()
        .flat_map(|side| [Mode::Reset, Mode::BlackHole, Mode::Close].map(|mode| cut(side, mode)));
    join_all(cuts).await;
}
