//! Workers that stop, and what becomes of what they were doing.

use std::time::Duration;

use haul_common::job::{Failure, Lane, Outcome, StateKind};
use haul_tests::{
    fleet::{Fleet, history, result, within},
    scripted::{self, Act, Desk, Scripted},
};
use haul_worker::{Context, StopCause};

haul_tests::on_both! {
    a_quiet_worker_starts_nothing_and_finishes_what_runs,
    a_drain_waits_for_what_runs,
    a_drain_gives_back_what_runs_after_its_grace,
    an_abort_gives_attempts_back_at_no_cost,
    a_checkpoint_saved_while_stopping_is_seen_by_the_next_worker,
    a_stopped_worker_is_gone,
    what_waits_behind_a_long_job_goes_to_whoever_is_free,
    a_guard_frees_the_delivery_and_runs_nothing_twice,
    a_guarded_job_goes_on_after_an_abort,
    a_guarded_job_goes_on_after_a_crash,
}

async fn a_quiet_worker_starts_nothing_and_finishes_what_runs(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let running = fleet.submit([Act::Hold]).await;
    fleet.started(running.id(), 1).await;
    worker.quiet();
    // What its consumers had is given back.
    let waiting = fleet.submit([Act::Ok]).await;
    fleet.ready(Lane::Normal, 1).await;
    fleet.desk.let_go(1);
    assert_eq!(result(&running).await, "done");
    assert_eq!(fleet.desk.starts(waiting.id()), 0);
    assert_eq!(fleet.workers().await.len(), 1);
    let _other = fleet.scripted().await;
    assert_eq!(result(&waiting).await, "done");
}

async fn a_drain_waits_for_what_runs(fleet: Fleet) {
    let worker = fleet
        .worker(|w| {
            w.queue("default", 4)
                .grace(Duration::from_secs(300))
                .handle(scripted::run)
        })
        .await;
    let job = fleet.submit([Act::Hold]).await;
    fleet.started(job.id(), 1).await;
    worker.drain();
    fleet.desk.let_go(1);
    within("the end of the drain", worker.finished())
        .await
        .unwrap();
    let record = fleet.find(job.id()).await;
    assert_eq!(history(&record), [(1, Outcome::Succeeded)]);
}

async fn a_drain_gives_back_what_runs_after_its_grace(fleet: Fleet) {
    let worker = fleet
        .worker(|w| {
            w.queue("default", 4)
                .grace(Duration::from_secs(1))
                .handle(scripted::run)
        })
        .await;
    let job = fleet.submit([Act::Hang, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    worker.drain();
    within("the end of the drain", worker.finished())
        .await
        .unwrap();
    assert_eq!(
        fleet.find(job.id()).await.life.state.kind(),
        StateKind::Queued
    );
    let _next = fleet.scripted().await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Released), (1, Outcome::Succeeded)]
    );
}

async fn an_abort_gives_attempts_back_at_no_cost(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(fleet.job([Act::Flinch, Act::Ok]).attempts(1).await.unwrap());
    }
    for job in &jobs {
        fleet.started(job.id(), 1).await;
    }
    worker.abort();
    within("the end of the abort", worker.finished())
        .await
        .unwrap();
    let _next = fleet.scripted().await;
    for job in &jobs {
        result(job).await;
        let record = fleet.find(job.id()).await;
        assert_eq!(
            history(&record),
            [(1, Outcome::Released), (1, Outcome::Succeeded)]
        );
        assert_eq!((record.life.attempt, record.life.crashes), (1, 0));
    }
}

/// Saves where it is when its worker stops; says where it began.
async fn careful(ctx: Context<Desk>, _: Scripted) -> Result<String, Failure> {
    let from: Option<String> = ctx.checkpoint().await?;
    ctx.state().say(ctx.id(), "start");
    if let Some(from) = from {
        return Ok(from);
    }
    let cause = ctx.stopped().await;
    ctx.save_checkpoint(&format!("{cause:?}")).await?;
    Err(Failure::retry("stopped"))
}

async fn a_checkpoint_saved_while_stopping_is_seen_by_the_next_worker(fleet: Fleet) {
    let worker = fleet
        .worker(|w| w.queue("default", 4).handle(careful))
        .await;
    let job = fleet.submit([Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    worker.abort();
    within("the end of the abort", worker.finished())
        .await
        .unwrap();
    let _next = fleet
        .worker(|w| w.queue("default", 4).handle(careful))
        .await;
    assert_eq!(result(&job).await, format!("{:?}", StopCause::Stopping));
}

async fn a_stopped_worker_is_gone(fleet: Fleet) {
    let (one, two) = (fleet.scripted().await, fleet.scripted().await);
    assert_eq!(fleet.workers().await.len(), 2);
    one.abort();
    within("the end of the abort", one.finished())
        .await
        .unwrap();
    let left: Vec<_> = fleet
        .workers()
        .await
        .into_iter()
        .map(|worker| worker.id)
        .collect();
    assert_eq!(left, [two.id().clone()]);
}

/// A worker with one slot that soon lets a guard stand in.
async fn guarded(fleet: &Fleet) -> haul_worker::Running {
    let after = Duration::from_millis(300);
    fleet
        .worker(|w| {
            w.queue("default", 1)
                .guard_after(after)
                .handle(scripted::run)
        })
        .await
}

/// Waits until the job that runs is guarded. With one slot a worker holds two deliveries: it gets a
/// second one that waits only when the guard has freed that of the job.
async fn is_guarded(fleet: &Fleet) -> haul_producer::Job<Scripted> {
    fleet.submit([Act::Ok]).await;
    let next = fleet.submit([Act::Ok]).await;
    fleet.ready(Lane::Normal, 0).await;
    next
}

async fn what_waits_behind_a_long_job_goes_to_whoever_is_free(fleet: Fleet) {
    let _one = fleet
        .worker(|w| w.queue("default", 1).handle(scripted::run))
        .await;
    let long = fleet.submit([Act::Hold]).await;
    fleet.started(long.id(), 1).await;
    // The busy worker has it at hand.
    let next = fleet.submit([Act::Ok]).await;
    fleet.ready(Lane::Normal, 0).await;
    let _two = fleet.scripted().await;
    assert_eq!(result(&next).await, "done");
    assert_eq!(fleet.desk.starts(long.id()), 1);
    fleet.desk.let_go(1);
    assert_eq!(result(&long).await, "done");
}

async fn a_guard_frees_the_delivery_and_runs_nothing_twice(fleet: Fleet) {
    let _one = guarded(&fleet).await;
    let job = fleet.submit([Act::Hold]).await;
    fleet.started(job.id(), 1).await;
    let next = is_guarded(&fleet).await;
    // The guard comes to whoever is free, and finds that the job runs.
    let _two = fleet.scripted().await;
    let later = fleet
        .job([Act::Ok])
        .delay(Duration::from_secs(4))
        .await
        .unwrap();
    result(&later).await;
    assert_eq!(fleet.desk.starts(job.id()), 1);
    fleet.desk.let_go(1);
    result(&job).await;
    result(&next).await;
    result(
        &fleet
            .job([Act::Ok])
            .delay(Duration::from_secs(3))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        history(&fleet.find(job.id()).await),
        [(1, Outcome::Succeeded)]
    );
    assert_eq!(fleet.desk.starts(job.id()), 1);
}

async fn a_guarded_job_goes_on_after_an_abort(fleet: Fleet) {
    let worker = guarded(&fleet).await;
    let job = fleet.submit([Act::Listen, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    is_guarded(&fleet).await;
    worker.abort();
    within("the end of the abort", worker.finished())
        .await
        .unwrap();
    let _next = fleet.scripted().await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Released), (1, Outcome::Succeeded)]
    );
}

async fn a_guarded_job_goes_on_after_a_crash(fleet: Fleet) {
    let worker = guarded(&fleet).await;
    let job = fleet.submit([Act::Hang, Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    is_guarded(&fleet).await;
    drop(worker);
    let _next = fleet.scripted().await;
    result(&job).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(
        history(&record),
        [(1, Outcome::Lost), (2, Outcome::Succeeded)]
    );
}
