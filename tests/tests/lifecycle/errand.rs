//! Workers that come for a few jobs, or for what is ready, and one handler for all tasks.

use std::{num::NonZeroU32, time::Duration};

use haul_common::job::{Json, Lane, Outcome, StateKind, json};
use haul_tests::{
    fleet::{Fleet, history, within},
    jobs::{queue, spec},
    scripted::{self, Act},
};
use haul_worker::{Context, Worker};
use tokio::sync::mpsc;

haul_tests::on_both! {
    a_worker_that_came_for_two_jobs_starts_two_and_leaves,
    a_worker_that_came_for_what_is_ready_leaves_when_it_is_done,
    a_worker_without_work_leaves,
    whoever_waits_for_a_worker_that_leaves_first_is_told,
    a_long_job_is_not_cut_short_when_its_worker_wants_to_leave,
    a_handler_for_others_gets_what_no_other_handler_takes,
}

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

async fn a_worker_that_came_for_two_jobs_starts_two_and_leaves(fleet: Fleet) {
    for _ in 0..5 {
        fleet.submit([Act::Ok]).await;
    }
    let worker = fleet
        .worker(|w| w.queue("default", 4).handle(scripted::run).at_most(TWO))
        .await;
    within("its end", worker.finished()).await.unwrap();
    assert_eq!(fleet.desk.all().len(), 2);
    fleet.ready(Lane::Normal, 3).await;
}

async fn a_worker_that_came_for_what_is_ready_leaves_when_it_is_done(fleet: Fleet) {
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(fleet.submit([Act::Ok]).await);
    }
    let later = fleet.job([Act::Ok]).delay(Duration::from_secs(600)).await;
    let worker = fleet
        .worker(|w| {
            w.queue("default", 2)
                .handle(scripted::run)
                .until_idle(Duration::ZERO)
        })
        .await;
    within("its end", worker.finished()).await.unwrap();
    for job in &jobs {
        let record = fleet.find(job.id()).await;
        assert_eq!(record.life.state.kind(), StateKind::Succeeded);
    }
    let record = fleet.find(later.unwrap().id()).await;
    assert_eq!(record.life.state.kind(), StateKind::Scheduled);
}

async fn a_worker_without_work_leaves(fleet: Fleet) {
    let worker = fleet
        .worker(|w| {
            w.queue("default", 2)
                .handle(scripted::run)
                .until_idle(Duration::ZERO)
        })
        .await;
    within("its end", worker.finished()).await.unwrap();
}

async fn whoever_waits_for_a_worker_that_leaves_first_is_told(fleet: Fleet) {
    let worker = Worker::connect(fleet.urls()).await.unwrap();
    let worker = worker.state(fleet.desk.clone()).queue("default", 1);
    let worker = worker.handle(scripted::run).start().await.unwrap();
    // It has no consumer yet, and may never have one.
    worker.quiet();
    within("an end of the wait", worker.ready()).await;
}

async fn a_long_job_is_not_cut_short_when_its_worker_wants_to_leave(fleet: Fleet) {
    let job = fleet.submit([Act::Block(1500)]).await;
    let worker = fleet
        .worker(|w| {
            w.queue("default", 1)
                .handle_blocking(scripted::run_blocking)
                .at_most(NonZeroU32::MIN)
                .grace(Duration::ZERO)
        })
        .await;
    within("its end", worker.finished()).await.unwrap();
    let record = fleet.find(job.id()).await;
    assert_eq!(history(&record), [(1, Outcome::Succeeded)]);
}

async fn a_handler_for_others_gets_what_no_other_handler_takes(fleet: Fleet) {
    let own = fleet.submit([Act::Ok]).await;
    let other = spec("default", 7);
    let submission = haul_producer::Submission {
        spec: other.clone(),
        due: None,
        chosen_id: false,
    };
    fleet.producer.submit_all(vec![submission]).await;
    let (to, mut news) = mpsc::unbounded_channel();
    let worker = fleet
        .worker(|w| {
            w.queue(&*queue("default"), 2)
                .handle(scripted::run)
                .handle_others(async |ctx: Context<_>, args: Json| Ok(json(&(ctx.task(), args))?))
                .observe(to)
                .at_most(TWO)
        })
        .await;
    within("its end", worker.finished()).await.unwrap();
    let record = fleet.find(&other.id).await;
    let haul_common::job::State::Succeeded { result, .. } = record.life.state else {
        panic!("{record:?}");
    };
    assert_eq!(result.get(), r#"["test.count",{"n":7}]"#);
    let mut told = Vec::new();
    while let Ok((id, life)) = news.try_recv() {
        assert_eq!(life.attempt, 1);
        told.push((id, life.state.kind()));
    }
    told.sort();
    let both = [own.id().clone(), other.id];
    let steps = [StateKind::Running, StateKind::Succeeded];
    let mut expected: Vec<_> = both
        .iter()
        .flat_map(|id| steps.map(|state| (id.clone(), state)))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}
