//! Records that somebody spoilt by hand.

use haul_common::job::StateKind;
use haul_tests::{
    backends::redis_url,
    fleet::{Fleet, until},
    scripted::{Act, run},
};

haul_tests::on_fleet! {
    a_spoilt_record_is_in_nobodys_way,
}

const JOBS: u32 = 20;

/// Calls of many jobs share a script: what is wrong with one of them must not reach the others.
async fn a_spoilt_record_is_in_nobodys_way(fleet: Fleet) {
    let mut ids = Vec::new();
    for _ in 0..JOBS {
        ids.push(fleet.job([Act::Ok]).await.unwrap().id().clone());
    }
    let client = redis::Client::open(redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let namespace = fleet.urls().namespace.unwrap();
    let key = |n: usize| format!("{{{namespace}}}:job:{}", ids[n]);
    let mut spoil = redis::pipe();
    spoil.hset(key(3), "head", "queued|1|nonsense");
    spoil.hset(key(7), "meta", "nonsense");
    spoil.del(key(11)).lpush(key(11), "nonsense");
    spoil.exec_async(&mut redis).await.unwrap();

    let _worker = fleet
        .worker(|w| w.queue("default", 2 * JOBS).handle(run))
        .await;
    let spoilt = 3;
    until("all others to be done", || async {
        let counts = fleet.producer.counts().await.unwrap();
        let states = counts.into_iter().next().unwrap().states;
        let count = |state| states.get(&state).copied().unwrap_or(0);
        count(StateKind::Succeeded) == u64::from(JOBS - spoilt) && count(StateKind::Running) == 0
    })
    .await;
    for (n, id) in ids.iter().enumerate() {
        let started = fleet.desk.starts(id);
        assert_eq!(started, usize::from(![3, 7, 11].contains(&n)), "job {n}");
    }
}
