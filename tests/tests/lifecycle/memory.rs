//! What attempts remember.

use haul_common::job::{Failure, StateKind};
use haul_tests::{
    fleet::{Fleet, result},
    scripted::{Act, Desk, Scripted},
};
use haul_worker::{Context, MemoryError, Running};

haul_tests::on_both! {
    a_checkpoint_survives_a_failed_attempt,
    a_checkpoint_that_is_too_large_is_refused,
    a_step_runs_once_in_all_attempts,
    a_step_that_failed_runs_again,
    a_step_whose_result_is_too_large_is_fatal,
    an_attempt_that_lost_its_job_saves_nothing,
}

async fn worker<F>(
    fleet: &Fleet,
    handler: impl Fn(Context<Desk>, Scripted) -> F + Send + Sync + 'static,
) -> Running
where
    F: Future<Output = Result<String, Failure>> + Send + 'static,
{
    fleet
        .worker(|w| w.queue("default", 4).handle(handler))
        .await
}

async fn a_checkpoint_survives_a_failed_attempt(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        let seen: Option<u32> = ctx.checkpoint().await?;
        ctx.state().say(ctx.id(), format!("{seen:?}"));
        ctx.save_checkpoint(&ctx.attempt()).await?;
        match ctx.checkpoint().await? {
            Some(3) => Ok("done".to_owned()),
            now => Err(Failure::retry(format!("{now:?}"))),
        }
    })
    .await;
    let job = fleet.submit([Act::Ok]).await;
    result(&job).await;
    assert_eq!(fleet.desk.heard(job.id()), ["None", "Some(1)", "Some(2)"]);
}

async fn a_checkpoint_that_is_too_large_is_refused(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        let (fits, large) = ("x".repeat(64 * 1024 - 2), "x".repeat(64 * 1024 - 1));
        ctx.save_checkpoint(&fits).await?;
        let refused = ctx.save_checkpoint(&large).await.unwrap_err();
        assert!(
            matches!(refused, MemoryError::TooLarge { size: 65_537, .. }),
            "{refused}"
        );
        let kept: Option<String> = ctx.checkpoint().await?;
        Ok((kept == Some(fits)).to_string())
    })
    .await;
    assert_eq!(result(&fleet.submit([Act::Ok]).await).await, "true");
}

async fn a_step_runs_once_in_all_attempts(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        for name in ["download", "pay"] {
            let say = async || {
                ctx.state().say(ctx.id(), name);
                Ok::<_, Failure>(format!("{name} {}", ctx.attempt()))
            };
            let first = ctx.step(name, say).await?;
            assert_eq!(
                first,
                if name == "download" {
                    "download 1"
                } else {
                    "pay 2"
                }
            );
            if ctx.attempt() == 1 {
                return Err(Failure::retry("between the steps"));
            }
        }
        if ctx.attempt() == 2 {
            return Err(Failure::retry("after the steps"));
        }
        Ok("done".to_owned())
    })
    .await;
    let job = fleet.submit([Act::Ok]).await;
    result(&job).await;
    assert_eq!(fleet.desk.heard(job.id()), ["download", "pay"]);
}

async fn a_step_that_failed_runs_again(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        let attempt = ctx.attempt();
        let work = || async move {
            if attempt < 3 {
                Err(Failure::retry("not yet"))
            } else {
                Ok(attempt.to_string())
            }
        };
        ctx.step("work", work).await
    })
    .await;
    assert_eq!(result(&fleet.submit([Act::Ok]).await).await, "3");
}

async fn a_step_whose_result_is_too_large_is_fatal(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        ctx.step("large", async || Ok::<_, Failure>("x".repeat(64 * 1024)))
            .await
    })
    .await;
    let job = fleet.submit([Act::Ok]).await;
    let record = fleet.ended(job.id()).await;
    assert_eq!(
        (record.life.state.kind(), record.life.starts),
        (StateKind::Dead, 1)
    );
    assert!(
        record
            .life
            .error
            .unwrap()
            .contains("step `large` is 65538 bytes")
    );
}

async fn an_attempt_that_lost_its_job_saves_nothing(fleet: Fleet) {
    let _worker = worker(&fleet, async |ctx: Context<Desk>, _| {
        if ctx.attempt() > 1 {
            return Ok("the next one".to_owned());
        }
        ctx.save_checkpoint(&"mine").await?;
        ctx.state().say(ctx.id(), "saved");
        ctx.state().hold().await;
        let checkpoint = ctx.save_checkpoint(&"late").await;
        let step = ctx.step("late", async || Ok::<_, Failure>(1)).await;
        assert!(step.unwrap_err().message().contains("lost its job"));
        ctx.state().say(ctx.id(), format!("{checkpoint:?}"));
        Ok("nobody hears this".to_owned())
    })
    .await;
    let job = fleet.submit([Act::Ok]).await;
    fleet.started(job.id(), 1).await;
    let store = fleet.backend().store.clone();
    fleet.apply(job.id(), |life| life.lose(store.now())).await;
    fleet.desk.let_go(1);
    // Its delivery goes back, and carries the next attempt.
    assert_eq!(result(&job).await, "the next one");
    assert_eq!(fleet.desk.heard(job.id()), ["saved", "Err(Lost)"]);
    let saved = store.saved(job.id()).await.unwrap();
    assert_eq!(saved.checkpoint.unwrap().get(), "\"mine\"");
    assert!(saved.steps.is_empty());
}
