//! Networks that break between a worker and one of its servers.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haul_common::{
    connect::Backend,
    job::{Envelope, Lane, Outcome, QueueName},
    ports::{Publication, Route, Source},
    wire,
};
use haul_producer::Producer;
use haul_tests::{
    backends,
    proxy::{Mode, Proxy},
    site::{Site, outcomes},
    wait::{SOON, eventually},
    worker_process::{Script, Settings, WorkerProcess},
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

/// A worker that reaches one server through a proxy. Those to come reach both without.
async fn behind_a_proxy(side: Side) -> (Site, Proxy, WorkerProcess) {
    let (amqp, redis) = (backends::amqp_url(), backends::redis_url());
    let mut site = Site::fleet(&amqp, &redis).await;
    let proxy = match side {
        Side::Broker => {
            let (proxy, through) = proxied(&amqp).await;
            site.workers_use(&through, &redis);
            proxy
        }
        Side::Store => {
            let (proxy, through) = proxied(&redis).await;
            site.workers_use(&amqp, &through);
            proxy
        }
    };
    let worker = WorkerProcess::ready(&site, &Settings::default()).await;
    site.workers_use(&amqp, &redis);
    (site, proxy, worker)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_worker_lost_only_the_broker_is_left_to_it() {
    let (site, to_amqp, _cut_off) = behind_a_proxy(Side::Broker).await;
    let id = site.submit(&["sleep_ms 6000"]).await;
    site.did("start", 1, SOON).await;
    let _other = WorkerProcess::ready(&site, &Settings::default()).await;
    to_amqp.set(Mode::Refuse);
    let record = site.ended(&id, SOON).await;
    assert_eq!(outcomes(&record), [Outcome::Succeeded]);
    assert_eq!(site.ledger().count("start", &id), 1);
    to_amqp.set(Mode::Pass);
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_worker_lost_only_the_store_is_taken_over_and_ends_once() {
    let (site, to_redis, cut_off) = behind_a_proxy(Side::Store).await;
    let id = site.submit(&["sleep_ms 2000"]).await;
    site.did("start", 1, SOON).await;
    to_redis.set(Mode::BlackHole);
    let _other = WorkerProcess::ready(&site, &Settings::default()).await;
    let record = site.ended(&id, Duration::from_secs(45)).await;
    assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
    to_redis.set(Mode::Pass);
    eventually("the refusal of the late end", READY_AGAIN, || async {
        let refused = cut_off.said("its end was refused");
        if refused { Ok(()) } else { Err(cut_off.log()) }
    })
    .await;
    assert_eq!(outcomes(&site.record(&id).await), outcomes(&record));
    site.is_empty(0, SOON).await;
}

/// Long enough to be taken for dead, were its message taken back too.
const SILENT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_worker_lost_the_store_is_left_to_it_though_others_give_a_copy_back() {
    let (site, to_redis, _cut_off) = behind_a_proxy(Side::Store).await;
    site.can_judge().await;
    let id = site.submit(&["sleep_ms 6000"]).await;
    site.did("start", 1, SOON).await;
    let record = site.record(&id).await;
    let mut put_off = Envelope::first(record.spec, None);
    put_off.fence = record.life.fence;
    let elsewhere: QueueName = "elsewhere".parse().unwrap();
    let broker = &site.producer.backend().broker;
    let queues = std::slice::from_ref(&elsewhere);
    broker.declare(queues).await.unwrap();
    let copy = Publication {
        message: wire::encode(&put_off),
        route: Route::Lane(elsewhere.clone(), Lane::Normal),
    };
    broker.publish(vec![copy]).await;
    let lane = Source::Lane(elsewhere, Lane::Normal);
    let mut inbox = broker.consume(lane, 1).await.unwrap();
    let held = inbox.0.recv().await.unwrap();
    to_redis.set(Mode::Refuse);
    drop((held, inbox));
    let other = Settings {
        queue: "elsewhere",
        ..Settings::default()
    };
    let _other = WorkerProcess::ready(&site, &other).await;
    tokio::time::sleep(SILENT).await;
    to_redis.set(Mode::Pass);
    let record = site.ended(&id, SOON).await;
    assert_eq!(outcomes(&record), [Outcome::Succeeded]);
    assert_eq!(site.ledger().count("start", &id), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_counts_from_when_it_was_first_seen() {
    let (site, to_redis, _worker) = behind_a_proxy(Side::Store).await;
    let store = &site.producer.backend().store;
    let id = store.workers().await.unwrap()[0].id.clone();
    site.can_judge().await;
    let lives = async || store.is_alive(&id, true).await.unwrap();
    assert!(lives().await, "its line is whole");
    // Silence that began when the message came back would last by the time that the line is cut.
    tokio::time::sleep(Duration::from_secs(1)).await;
    to_redis.set(Mode::Refuse);
    let cut = Instant::now();
    eventually("it to be taken for dead", SOON, || async {
        if lives().await { Err("alive") } else { Ok(()) }
    })
    .await;
    let believed = cut.elapsed();
    assert!(believed > Duration::from_millis(850), "{believed:?}");
    assert!(
        believed < Duration::from_secs(5),
        "by its heartbeats: {believed:?}"
    );
    to_redis.set(Mode::Pass);
    eventually("it to be heard again", SOON, || async {
        if lives().await { Ok(()) } else { Err("dead") }
    })
    .await;
    // A second, shorter silence begins anew.
    to_redis.set(Mode::Refuse);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(lives().await, "the old silence was counted on");
    to_redis.set(Mode::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_into_a_black_hole_says_that_nobody_knows_and_can_be_repeated() {
    let (amqp, redis) = (backends::amqp_url(), backends::redis_url());
    let site = Site::fleet(&amqp, &redis).await;
    let (to_amqp, through) = proxied(&amqp).await;
    let connected = Backend::connect(site.urls(&through, &redis)).await.unwrap();
    let producer = Producer::new(connected);
    let submit = |id: &'static str| producer.submit(Script::new(&["ok"])).id(id);
    submit("before").await.unwrap();
    to_amqp.set(Mode::Mute);
    let asked = Instant::now();
    let unknown = submit("within").await.unwrap_err().to_string();
    let waited = asked.elapsed();
    assert!(unknown.starts_with("nobody knows"), "{unknown}");
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    to_amqp.set(Mode::Pass);
    let again = eventually("the broker to be back", READY_AGAIN, || async {
        submit("within").await
    })
    .await;
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    site.all_succeed(&["before".parse().unwrap(), again.id().clone()], SOON)
        .await;
    assert_eq!(site.ledger().total("effect"), 2);
    site.is_empty(0, SOON).await;
    eprintln!("a submit into a black hole took {waited:?}");
}
