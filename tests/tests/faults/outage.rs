//! Servers that are killed, stopped and emptied in the middle of work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use haul_common::{
    job::{Lane, Outcome},
    ports::Source,
};
use haul_tests::{
    backends,
    chaos::aof,
    servers::Server,
    site::{Site, outcomes},
    wait::{SOON, eventually},
    worker_process::{QUEUE, Settings, WorkerProcess},
};
use redis::Commands;
use tokio::task::spawn_blocking;

/// A worker notices, connects again with pauses, and waits out the doubt about who is alive.
const BACK: Duration = Duration::from_secs(40);
/// A quorum queue that is younger than this when its node is killed is ruined (rabbitmq-server
/// 15725): not ours to test.
const QUEUES_ARE_SAFE: Duration = Duration::from_secs(4);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap()
}

async fn all_ran_once(site: &Site, ids: &[haul_common::job::JobId], limit: Duration) {
    eventually("every job to have its effect", limit, || async {
        let done = site.ledger().counts("effect").len();
        if done == ids.len() { Ok(()) } else { Err(done) }
    })
    .await;
    let repeated: Vec<_> = ids
        .iter()
        .filter(|id| site.ledger().count("effect", id) != 1)
        .collect();
    assert!(repeated.is_empty(), "ran again: {repeated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_loses_no_job_and_workers_wait_for_it() {
    let redis = blocking(|| Server::redis(&["appendfsync=always"])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let ids = site.submit_many(80, &["sleep_ms 100"]).await;
    site.did("effect", 10, SOON).await;
    let redis = blocking(move || {
        redis.kill();
        redis
    })
    .await;
    eventually("the worker to notice", SOON, || async {
        let noticed = worker.said("taking no new jobs");
        if noticed { Ok(()) } else { Err(worker.log()) }
    })
    .await;
    // What runs goes on to its end; nothing new is started.
    eventually("what runs to end", SOON, || async {
        let (starts, ends) = (site.ledger().total("start"), site.ledger().total("end"));
        if starts == ends {
            Ok(())
        } else {
            Err((starts, ends))
        }
    })
    .await;
    let started = site.ledger().total("start");
    assert!(started < ids.len());
    let _redis = blocking(move || {
        let mut redis = redis;
        redis.start();
        redis
    })
    .await;
    all_ran_once(&site, &ids, BACK).await;
    site.all_succeed(&ids, BACK).await;
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_loses_no_plain_job() {
    let redis = blocking(|| Server::redis(&[])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let ids = site.submit_many(80, &["sleep_ms 50"]).await;
    let failing = site.submit_many(10, &["fail 1"]).await;
    site.did("effect", 20, SOON).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL")
        .exec_async(&mut connection)
        .await
        .unwrap();
    assert!(
        site.ledger().total("effect") < ids.len(),
        "emptied too late"
    );
    let all: Vec<_> = ids.into_iter().chain(failing).collect();
    all_ran_once(&site, &all, BACK).await;
    site.is_empty(0, SOON).await;
    // What had not ended by then is known again, with its end.
    let states = site.producer.counts().await.unwrap();
    for queue in states {
        for state in queue.states.keys() {
            assert_eq!(*state, haul_common::job::StateKind::Succeeded, "{queue:?}");
        }
    }
}

/// How many writes of a record the server has refused.
async fn refused(url: &str) -> usize {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut info = redis::cmd("INFO");
    info.arg("commandstats");
    let info: String = info.query_async(&mut connection).await.unwrap();
    let line = info.lines().find(|line| line.starts_with("cmdstat_hset:"));
    let count = line.and_then(|line| line.split_once("rejected_calls="));
    let count = count.and_then(|(_, rest)| rest.split(',').next());
    count.map_or(0, |count| count.parse().unwrap())
}

/// It answers, and refuses every write: that is no fault of the job whose end it refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_holds_ends_up_and_no_more() {
    let redis = blocking(|| Server::redis(&["maxmemory-policy=noeviction"])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let ids = site.submit_many(20, &["sleep_ms 500"]).await;
    site.did("start", 1, SOON).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut limit = async |bytes: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg(&["SET", "maxmemory", bytes]);
        command.exec_async(&mut connection).await.unwrap();
    };
    limit("1").await;
    site.did("effect", 1, SOON).await;
    // A claim is refused once, and then nobody claims: the others of so many were ends.
    eventually("ends to be refused", SOON, || async {
        let refused = refused(&redis.url()).await;
        (refused > ids.len()).then_some(()).ok_or(refused)
    })
    .await;
    assert!(site.ledger().total("effect") < ids.len(), "full too late");
    limit("0").await;
    all_ran_once(&site, &ids, BACK).await;
    site.all_succeed(&ids, BACK).await;
    site.is_empty(0, SOON).await;
}

/// Redis 7.0 carries out a half transaction at the next start but one: the record says that the job
/// runs, and no index knows. Here that half is made by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_that_no_index_knows_is_found_after_a_restart() {
    let redis = blocking(|| Server::redis(&["appendfsync=always"])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let mut worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let id = site.submit(&["kill 1", "ok"]).await;
    worker.ended(SOON).await;
    // Nothing but the index leads to it any more.
    let lane = Source::Lane(QUEUE.parse().unwrap(), Lane::Normal);
    let broker = &site.producer.backend().broker;
    let mut inbox = broker.consume(lane, 1).await.unwrap();
    inbox.0.recv().await.unwrap().settlement.ack();
    site.is_empty(0, SOON).await;
    let url = redis.url();
    blocking(move || {
        let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
        let indexes: Vec<String> = redis.keys("*:index:*:running").unwrap();
        assert_eq!(redis.del::<_, usize>(indexes).unwrap(), 1);
    })
    .await;
    let _redis = blocking(move || {
        let mut redis = redis;
        redis.kill();
        redis.start();
        redis
    })
    .await;
    let _next = WorkerProcess::ready(&site, &Settings::default()).await;
    let record = site.ended(&id, 2 * BACK).await;
    assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
}

/// What Redis 7.0 can do to its own file on a full disk, and what the runbook says to do then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_file_had_to_be_cut_comes_back_older_and_all_jobs_run() {
    let redis = blocking(|| Server::redis(&["appendfsync=always"])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let before = site.submit_many(20, &["ok"]).await;
    aof::spoil(&redis).unwrap();
    let after = site.submit_many(20, &["ok"]).await;
    let _redis = blocking(move || {
        let mut redis = redis;
        redis.kill();
        let cut = aof::start(&mut redis).unwrap();
        assert!(cut, "it could read its file");
        redis
    })
    .await;
    let known = async |id| eventually("an answer", SOON, || site.producer.find(id)).await;
    assert!(known(&before[19]).await.is_some());
    assert!(known(&after[0]).await.is_none());
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let all = [before, after].concat();
    site.all_succeed(&all, BACK).await;
    all_ran_once(&site, &all, SOON).await;
}

/// It may do so for longer than a worker counts as alive. Here that is made by hand: the key of a worker
/// has run out, and the server lives another life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_redis_that_took_long_nobody_is_judged_by_his_silence() {
    let redis = blocking(|| Server::redis(&[])).await;
    let site = Site::fleet(&backends::amqp_url(), &redis.url()).await;
    let store = &site.producer.backend().store;
    let worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let id = store.workers().await.unwrap()[0].id.clone();
    site.can_judge().await;
    worker.stop();
    let (url, key) = (redis.url(), format!("*:worker:{id}"));
    blocking(move || {
        let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
        let [key, life] = [key.as_str(), "*:life"].map(|pattern| {
            let [found] = redis
                .keys::<_, Vec<String>>(pattern)
                .unwrap()
                .try_into()
                .unwrap();
            found
        });
        redis.del::<_, ()>(key).unwrap();
        redis.set::<_, _, ()>(life, "0|another").unwrap();
    })
    .await;
    assert!(
        store.is_alive(&id, false).await.unwrap(),
        "judged before anybody was heard"
    );
    let _other = WorkerProcess::ready(&site, &Settings::default()).await;
    assert!(store.is_alive(&id, false).await.unwrap(), "judged at once");
    worker.cont();
}

async fn rabbitmq_goes_away(end: fn(&Server)) {
    let (rabbitmq, redis) = blocking(|| (Server::rabbitmq(&[]), Server::redis(&[]))).await;
    let site = Arc::new(Site::fleet(&rabbitmq.url(), &redis.url()).await);
    let worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let declared = Instant::now();
    let ids = site.submit_many(60, &["sleep_ms 500"]).await;
    let failing = site.submit_many(4, &["fail 1"]).await;
    site.did("effect", 8, SOON).await;
    tokio::time::sleep(QUEUES_ARE_SAFE.saturating_sub(declared.elapsed())).await;
    let rabbitmq = blocking(move || {
        end(&rabbitmq);
        rabbitmq
    })
    .await;
    worker.becomes_unready(SOON).await;
    let asked = Instant::now();
    let refused = site.job(&["ok"]).id("during-the-outage").await;
    assert!(refused.is_err(), "accepted by a broker that is away");
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "{:?}",
        asked.elapsed()
    );
    let _rabbitmq = blocking(move || {
        let mut rabbitmq = rabbitmq;
        rabbitmq.start();
        rabbitmq
    })
    .await;
    worker.becomes_ready(BACK).await;
    let retried = eventually("the job to be accepted", BACK, || async {
        site.job(&["ok"]).id("during-the-outage").await
    })
    .await;
    let all: Vec<_> = [ids, failing, vec![retried.id().clone()]].concat();
    site.all_succeed(&all, BACK).await;
    all_ran_once(&site, &all, SOON).await;
    site.is_empty(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rabbitmq_that_is_killed_or_stopped_loses_no_job() {
    tokio::join!(
        rabbitmq_goes_away(Server::kill),
        rabbitmq_goes_away(Server::stop)
    );
}
