//! Jobs whose arguments are mended.

use std::time::Duration;

use haul_common::{
    filter::Filter,
    job::{Envelope, JobId, Json, Reason, Record, StateKind, json},
    ports::PageRequest,
    protocol::{EditOutcome, RedriveOutcome, Submission},
    wire::{Message, encode},
};
use haul_tests::{
    fleet::{Fleet, reason, result, until},
    scripted::{Act, Scripted},
};

haul_tests::on_both! {
    a_dead_job_runs_again_with_other_arguments,
    the_old_message_of_a_cancelled_job_runs_nothing,
    a_retry_from_before_an_edit_runs_nothing,
    what_waits_runs_or_succeeded_is_not_edited,
    the_job_that_was_submitted_and_the_job_that_it_became_are_one,
    a_store_that_lost_an_edit_learns_it_from_the_message,
    an_old_message_is_known_where_the_store_forgot_all,
    what_was_saved_for_other_arguments_is_forgotten,
}

fn args(name: &str, acts: &[Act]) -> Json {
    let (name, acts) = (name.to_owned(), acts.to_vec());
    json(&Scripted { name, acts }).unwrap()
}

async fn edit(fleet: &Fleet, id: &JobId, acts: &[Act]) {
    let edited = fleet.producer.edit(id, &args("mended", acts)).await;
    assert_eq!(edited.unwrap(), EditOutcome::Edited);
}

async fn retry(fleet: &Fleet, id: &JobId) {
    let queued = fleet.producer.retry(id).await.unwrap();
    assert_eq!(queued, RedriveOutcome::Queued);
}

/// The message that sends this record round again.
fn redrive(record: &Record) -> Message {
    let mut envelope = Envelope::first(record.spec.clone(), None);
    (envelope.fence, envelope.redrive) = (record.life.fence, true);
    encode(&envelope)
}

/// Nothing is left of these jobs but themselves, and no message.
async fn nothing_else_is_left(fleet: &Fleet, jobs: usize) {
    until("no message to be left", || async {
        let lane = fleet.lane(haul_common::job::Lane::Normal).await;
        lane.ready == 0
    })
    .await;
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    let all = fleet.producer.list(&Filter::default(), page).await.unwrap();
    assert_eq!(all.records.len(), jobs, "{:#?}", all.records);
}

async fn a_dead_job_runs_again_with_other_arguments(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Fatal]).await;
    fleet.ended(job.id()).await;
    edit(&fleet, job.id(), &[Act::Ok]).await;
    let record = fleet.find(job.id()).await;
    assert_eq!(reason(&record), Reason::Fatal);
    assert_eq!(record.spec.args.get(), args("mended", &[Act::Ok]).get());
    let same = fleet.producer.edit(job.id(), &record.spec.args).await;
    assert_eq!(same.unwrap(), EditOutcome::Unchanged);
    retry(&fleet, job.id()).await;
    assert_eq!(result(&job).await, "mended");
    assert_eq!(fleet.find(job.id()).await.attempts.len(), 2);
    nothing_else_is_left(&fleet, 1).await;
}

async fn the_old_message_of_a_cancelled_job_runs_nothing(fleet: Fleet) {
    let (kept, sent) = (fleet.submit([Act::Ok]).await, fleet.submit([Act::Ok]).await);
    for job in [&kept, &sent] {
        job.cancel().await.unwrap();
        edit(&fleet, job.id(), &[Act::Ok]).await;
    }
    retry(&fleet, sent.id()).await;
    let _worker = fleet.scripted().await;
    assert_eq!(result(&sent).await, "mended");
    nothing_else_is_left(&fleet, 2).await;
    assert_eq!(fleet.desk.heard(sent.id()), ["mended"]);
    assert_eq!(fleet.desk.starts(kept.id()), 0);
    let state = fleet.find(kept.id()).await.life.state.kind();
    assert_eq!(state, StateKind::Cancelled);
}

async fn a_retry_from_before_an_edit_runs_nothing(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let job = fleet.submit([Act::Fatal]).await;
    let dead = fleet.ended(job.id()).await;
    worker.drain();
    worker.finished().await.unwrap();
    // A retry that crashed before it changed the record.
    fleet.post(redrive(&dead)).await;
    edit(&fleet, job.id(), &[Act::Ok]).await;
    let _worker = fleet.scripted().await;
    nothing_else_is_left(&fleet, 1).await;
    assert_eq!(reason(&fleet.find(job.id()).await), Reason::Fatal);
    retry(&fleet, job.id()).await;
    assert_eq!(result(&job).await, "mended");
    assert_eq!(fleet.desk.starts(job.id()), 2);
}

async fn what_waits_runs_or_succeeded_is_not_edited(fleet: Fleet) {
    let refused = async |id: &JobId| {
        let outcome = fleet.producer.edit(id, &args("other", &[Act::Ok])).await;
        outcome.unwrap()
    };
    let job = fleet.submit([Act::Hold]).await;
    let later = fleet.job([Act::Ok]).delay(Duration::from_secs(60)).await;
    let not = EditOutcome::NotEnded;
    assert_eq!(refused(job.id()).await, not(StateKind::Queued));
    assert_eq!(
        refused(later.unwrap().id()).await,
        not(StateKind::Scheduled)
    );
    let _worker = fleet.scripted().await;
    fleet.reaches(job.id(), StateKind::Running).await;
    assert_eq!(refused(job.id()).await, not(StateKind::Running));
    fleet.desk.let_go(1);
    assert_eq!(result(&job).await, "done");
    assert_eq!(refused(job.id()).await, not(StateKind::Succeeded));
    assert_eq!(
        refused(&"nobody".parse().unwrap()).await,
        EditOutcome::NotFound
    );
    let large = json(&"x".repeat(300_000)).unwrap();
    let dead = fleet.submit([Act::Fatal]).await;
    fleet.ended(dead.id()).await;
    let invalid = fleet.producer.edit(dead.id(), &large).await.unwrap();
    assert!(matches!(invalid, EditOutcome::Invalid(_)), "{invalid:?}");
}

async fn the_job_that_was_submitted_and_the_job_that_it_became_are_one(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    let first = fleet.find(job.id()).await.spec;
    job.cancel().await.unwrap();
    edit(&fleet, job.id(), &[Act::Fatal]).await;
    let edited = fleet.find(job.id()).await.spec;
    let mut other = edited.clone();
    other.args = json(&"other").unwrap();
    let again = |spec| Submission {
        spec,
        due: None,
        chosen_id: true,
    };
    let all = [first, edited, other].map(again);
    let answers = fleet.producer.submit_all(all.into()).await;
    for same in &answers[..2] {
        let existing = same.as_ref().unwrap().existing;
        assert_eq!(existing, Some(StateKind::Cancelled));
    }
    assert!(answers[2].is_err(), "{answers:?}");
}

async fn a_store_that_lost_an_edit_learns_it_from_the_message(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Fatal]).await;
    let mut after = fleet.ended(job.id()).await;
    after.spec = after.spec.edited(args("mended", &[Act::Ok])).unwrap();
    after.life = after.life.edit().unwrap().life;
    // It was edited and retried, says the message; the record knows nothing of it.
    fleet.post(redrive(&after)).await;
    fleet.reaches(job.id(), StateKind::Succeeded).await;
    assert_eq!(result(&job).await, "mended");
    let record = fleet.find(job.id()).await;
    assert_eq!(record.spec.args.get(), after.spec.args.get());
    // A copy of it runs nothing.
    fleet.post(redrive(&after)).await;
    nothing_else_is_left(&fleet, 1).await;
    assert_eq!(fleet.desk.starts(job.id()), 2);
}

async fn an_old_message_is_known_where_the_store_forgot_all(fleet: Fleet) {
    let job = fleet.submit([Act::Ok]).await;
    let mut unknown = fleet.find(job.id()).await;
    unknown.spec.id = JobId::new();
    let old = encode(&Envelope::first(unknown.spec.clone(), None));
    unknown.spec = unknown.spec.edited(args("mended", &[Act::Ok])).unwrap();
    let new = encode(&Envelope::first(unknown.spec.clone(), None));
    let _worker = fleet.scripted().await;
    fleet.post(new).await;
    fleet.started(&unknown.spec.id, 1).await;
    fleet.ended(&unknown.spec.id).await;
    fleet.post(old).await;
    result(&job).await;
    nothing_else_is_left(&fleet, 2).await;
    assert_eq!(fleet.desk.heard(&unknown.spec.id), ["mended"]);
}

async fn what_was_saved_for_other_arguments_is_forgotten(fleet: Fleet) {
    let _worker = fleet
        .worker(|w| {
            w.queue("default", 1).handle(
                async |ctx: haul_worker::Context<haul_tests::scripted::Desk>, job: Scripted| {
                    let seen: Option<String> = ctx.checkpoint().await?;
                    ctx.state().say(ctx.id(), format!("{seen:?}"));
                    ctx.save_checkpoint(&job.name).await?;
                    match job.name.as_str() {
                        "mended" => Ok(job.name),
                        _ => Err(haul_common::job::Failure::fatal("no")),
                    }
                },
            )
        })
        .await;
    let job = fleet.submit([Act::Ok]).await;
    fleet.ended(job.id()).await;
    retry(&fleet, job.id()).await;
    fleet.started(job.id(), 2).await;
    fleet.ended(job.id()).await;
    edit(&fleet, job.id(), &[Act::Ok]).await;
    retry(&fleet, job.id()).await;
    assert_eq!(result(&job).await, "mended");
    let seen = fleet.desk.heard(job.id());
    assert_eq!(seen, ["None", r#"Some("done")"#, "None"]);
}
