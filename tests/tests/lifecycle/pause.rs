//! Queues that are paused: nothing new of them is started, by whomever.

use std::{net::SocketAddr, time::Duration};

use haul_common::{
    job::{Lane, Outcome, StateKind},
    protocol::Protocol,
};
use haul_producer::Job;
use haul_tests::{
    fleet::{Fleet, LONG, history, result, until, within},
    http::get,
    jobs::queue,
    scripted::{self, Act, Scripted},
};
use haul_worker::{Running, lease::take};

haul_tests::on_both! {
    a_paused_queue_starts_nothing_new_and_what_runs_ends,
    what_a_busy_worker_has_at_hand_waits_too,
    a_worker_that_starts_while_its_queue_is_paused_is_ready_and_starts_nothing,
    one_queue_is_paused_and_another_goes_on,
    nobody_pulls_from_a_paused_queue,
    a_pull_that_waits_is_paused_and_goes_on,
    a_worker_that_came_for_what_is_ready_leaves_a_paused_queue,
    what_falls_due_waits_until_its_queue_goes_on,
}

const MINUTE: Duration = Duration::from_secs(60);
const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn pause(fleet: &Fleet, name: &str) {
    let why = Some("the other side is down");
    assert!(
        fleet
            .producer
            .pause(&queue(name), "a test", why)
            .await
            .unwrap()
    );
}

async fn resume(fleet: &Fleet, name: &str) {
    assert!(fleet.producer.resume(&queue(name)).await.unwrap());
}

/// Waits until the worker has heard of the pause of the default queue.
async fn rests(worker: &Running) {
    until("the worker to rest", || async {
        worker.status().paused == ["default"]
    })
    .await;
}

async fn is_queued(fleet: &Fleet, job: &Job<Scripted>) {
    assert_eq!(fleet.desk.starts(job.id()), 0);
    let record = fleet.find(job.id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Queued);
}

async fn a_paused_queue_starts_nothing_new_and_what_runs_ends(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let running = fleet.submit([Act::Hold]).await;
    fleet.started(running.id(), 1).await;
    pause(&fleet, "default").await;
    rests(&worker).await;
    let mut waiting = Vec::new();
    for lane in Lane::ALL {
        waiting.push(fleet.job([Act::Ok]).lane(lane).await.unwrap());
    }
    fleet.desk.let_go(1);
    assert_eq!(result(&running).await, "done");
    for (lane, job) in Lane::ALL.into_iter().zip(&waiting) {
        fleet.ready(lane, 1).await;
        is_queued(&fleet, job).await;
    }
    resume(&fleet, "default").await;
    for job in &waiting {
        assert_eq!(result(job).await, "done");
        let record = fleet.find(job.id()).await;
        assert_eq!(history(&record), [(1, Outcome::Succeeded)]);
    }
}

async fn what_a_busy_worker_has_at_hand_waits_too(fleet: Fleet) {
    let worker = fleet.scripted_with(1).await;
    let running = fleet.submit([Act::Hold]).await;
    fleet.started(running.id(), 1).await;
    let next = fleet.submit([Act::Ok]).await;
    fleet.ready(Lane::Normal, 0).await;
    pause(&fleet, "default").await;
    rests(&worker).await;
    // Its slot is free now, and what it had at hand goes back.
    fleet.desk.let_go(1);
    assert_eq!(result(&running).await, "done");
    fleet.ready(Lane::Normal, 1).await;
    is_queued(&fleet, &next).await;
    resume(&fleet, "default").await;
    assert_eq!(result(&next).await, "done");
}

async fn a_worker_that_starts_while_its_queue_is_paused_is_ready_and_starts_nothing(fleet: Fleet) {
    pause(&fleet, "default").await;
    let job = fleet.submit([Act::Ok]).await;
    let worker = fleet
        .worker(|w| {
            w.queue("default", 2)
                .queue("other", 2)
                .handle(scripted::run)
                .listen(ANYWHERE)
        })
        .await;
    let (status, answer) = get(worker.listening().unwrap(), "/readyz").await;
    assert_eq!(status, 200, "{answer}");
    let says = r#""consuming":["other"],"paused":["default"]"#;
    assert!(answer.contains(says), "{answer}");
    let other = fleet.job([Act::Ok]).queue("other").await.unwrap();
    assert_eq!(result(&other).await, "done");
    is_queued(&fleet, &job).await;
    resume(&fleet, "default").await;
    assert_eq!(result(&job).await, "done");
    within("its consumers", worker.ready()).await;
    let (status, answer) = get(worker.listening().unwrap(), "/readyz").await;
    assert_eq!(status, 200, "{answer}");
    let says = r#""consuming":["default","other"],"paused":[]"#;
    assert!(answer.contains(says), "{answer}");
}

async fn one_queue_is_paused_and_another_goes_on(fleet: Fleet) {
    let worker = fleet
        .worker(|w| {
            w.queue("default", 1)
                .queue("other", 1)
                .handle(scripted::run)
        })
        .await;
    pause(&fleet, "default").await;
    rests(&worker).await;
    let job = fleet.submit([Act::Ok]).await;
    let other = fleet.job([Act::Ok]).queue("other").await.unwrap();
    assert_eq!(result(&other).await, "done");
    is_queued(&fleet, &job).await;
}

async fn nobody_pulls_from_a_paused_queue(fleet: Fleet) {
    let protocol = Protocol::new(fleet.backend().clone());
    let job = fleet.submit([Act::Ok]).await;
    pause(&fleet, "default").await;
    let name = queue("default");
    let pull = || take(&protocol, &name, MINUTE, Duration::ZERO);
    assert!(pull().await.unwrap().is_none());
    is_queued(&fleet, &job).await;
    resume(&fleet, "default").await;
    let leased = pull().await.unwrap().unwrap();
    assert_eq!(&leased.assignment.spec.id, job.id());
}

async fn a_pull_that_waits_is_paused_and_goes_on(fleet: Fleet) {
    let protocol = Protocol::new(fleet.backend().clone());
    let waits = tokio::spawn(async move { take(&protocol, &queue("default"), MINUTE, LONG).await });
    let consumers = |count| {
        let fleet = &fleet;
        async move {
            until(&format!("{count} consumers"), || async {
                fleet.lane(Lane::Normal).await.consumers == count
            })
            .await;
        }
    };
    consumers(1).await;
    pause(&fleet, "default").await;
    consumers(0).await;
    let job = fleet.submit([Act::Ok]).await;
    fleet.ready(Lane::Normal, 1).await;
    is_queued(&fleet, &job).await;
    resume(&fleet, "default").await;
    let leased = within("the job", waits).await.unwrap().unwrap().unwrap();
    assert_eq!(&leased.assignment.spec.id, job.id());
}

async fn a_worker_that_came_for_what_is_ready_leaves_a_paused_queue(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    pause(&fleet, "default").await;
    let worker = fleet
        .worker(|w| {
            w.queue("default", 1)
                .handle(scripted::run)
                .until_idle(Duration::ZERO)
        })
        .await;
    within("its end", worker.finished()).await.unwrap();
    is_queued(&fleet, &job).await;
}

async fn what_falls_due_waits_until_its_queue_goes_on(fleet: Fleet) {
    let worker = fleet.scripted().await;
    pause(&fleet, "default").await;
    rests(&worker).await;
    let due = fleet.job([Act::Ok]).delay(Duration::from_millis(300));
    let due = due.await.unwrap();
    let waits = || async {
        let oldest = fleet.backend().store.oldest(&[queue("default")]).await;
        oldest.unwrap() != [None]
    };
    until("it to be due", waits).await;
    assert_eq!(fleet.desk.starts(due.id()), 0);
    resume(&fleet, "default").await;
    assert_eq!(result(&due).await, "done");
}
