//! Counts of a batch after somebody laid hands on what they count.

use std::collections::BTreeMap;

use haul_common::job::{BatchId, StateKind};
use haul_tests::{
    backends::redis_url,
    fleet::{Fleet, until},
    scripted::Act,
};
use redis::aio::MultiplexedConnection;

haul_tests::on_fleet! {
    a_tally_that_does_not_tell_of_all_jobs_is_counted_anew,
    a_batch_whose_records_are_gone_is_no_more,
    half_a_step_is_no_longer_counted_once_it_is_filed_again,
}

async fn delete(redis: &mut MultiplexedConnection, key: String) {
    let gone: u32 = redis::cmd("DEL")
        .arg(&key)
        .query_async(redis)
        .await
        .unwrap();
    assert_eq!(gone, 1, "{key}");
}

/// Three jobs of a batch, one of them cancelled; and a connection of our own, and our prefix there.
async fn batch(fleet: &Fleet, batch: &BatchId) -> (Vec<String>, MultiplexedConnection, String) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let job = fleet.job([Act::Ok]).batch(batch.clone()).await.unwrap();
        ids.push(job.id().to_string());
    }
    fleet
        .producer
        .cancel(&ids[0].parse().unwrap())
        .await
        .unwrap();
    let client = redis::Client::open(redis_url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let namespace = fleet.urls().namespace.unwrap();
    (ids, connection, format!("{{{namespace}}}:"))
}

async fn counted(fleet: &Fleet, batch: &BatchId) -> BTreeMap<StateKind, u64> {
    let counts = fleet.producer.batch(batch).await.unwrap();
    counts.map(|counts| counts.states).unwrap_or_default()
}

async fn a_tally_that_does_not_tell_of_all_jobs_is_counted_anew(fleet: Fleet) {
    let name: BatchId = "b".parse().unwrap();
    let (ids, mut redis, prefix) = batch(&fleet, &name).await;
    let whole = BTreeMap::from([(StateKind::Queued, 2), (StateKind::Cancelled, 1)]);
    assert_eq!(counted(&fleet, &name).await, whole);
    // As if an older Haul had made them.
    delete(&mut redis, format!("{prefix}tally:b")).await;
    delete(&mut redis, format!("{prefix}batches")).await;
    assert_eq!(counted(&fleet, &name).await, whole);
    let page = haul_common::ports::PageRequest {
        limit: 10,
        after: None,
    };
    let listed = fleet.producer.batches(page).await.unwrap().batches;
    assert_eq!(listed[0].states, whole);
    // A record that is gone is found out when its index is read.
    delete(&mut redis, format!("{prefix}job:{}", ids[0])).await;
    let filter = "batch:b".parse().unwrap();
    let page = haul_common::ports::PageRequest {
        limit: 10,
        after: None,
    };
    fleet.producer.list(&filter, page).await.unwrap();
    assert_eq!(
        counted(&fleet, &name).await,
        [(StateKind::Queued, 2)].into()
    );
}

async fn a_batch_whose_records_are_gone_is_no_more(fleet: Fleet) {
    let name: BatchId = "b".parse().unwrap();
    let (ids, mut redis, prefix) = batch(&fleet, &name).await;
    for id in ids {
        delete(&mut redis, format!("{prefix}job:{id}")).await;
    }
    delete(&mut redis, format!("{prefix}tally:b")).await;
    assert_eq!(fleet.producer.batch(&name).await.unwrap(), None);
}

async fn half_a_step_is_no_longer_counted_once_it_is_filed_again(fleet: Fleet) {
    let name: BatchId = "b".parse().unwrap();
    let (ids, mut redis, prefix) = batch(&fleet, &name).await;
    let whole = counted(&fleet, &name).await;
    // As if a claim had been cut off after its first two writes, and the record's then lost.
    let step = |command: &'static str, key: &str, args: [&str; 2]| {
        let mut command = redis::cmd(command);
        command.arg(format!("{prefix}{key}"));
        command.arg(
            args.into_iter()
                .filter(|arg| !arg.is_empty())
                .collect::<Vec<_>>(),
        );
        command
    };
    let index = "index:default:queued";
    for command in [
        step("HINCRBY", "tally:b", ["queued>running", "1"]),
        step("ZREM", index, [&ids[1], ""]),
    ] {
        command.exec_async(&mut redis).await.unwrap();
    }
    assert_ne!(counted(&fleet, &name).await, whole);
    // Whoever comes next finds a server that nobody has gone through yet.
    step("DEL", "filed", ["", ""])
        .exec_async(&mut redis)
        .await
        .unwrap();
    let _worker = fleet
        .worker(|w| w.queue("images", 1).handle(haul_tests::scripted::run))
        .await;
    until("the counts to be right again", || async {
        counted(&fleet, &name).await == whole
    })
    .await;
}
