//! Jobs on their way in, and what their submitters see of them.

use std::time::Duration;

use futures_util::StreamExt;
use haul_common::{
    job::{Envelope, HeaderValue, Lane, StateKind},
    ports::PageRequest,
    protocol,
    time::Timestamp,
    wire::encode,
};
use haul_producer::{Submission, SubmitError, WaitError};
use haul_tests::{
    fleet::{Fleet, LONG, result, within},
    jobs::spec,
    scripted::Act,
};
use haul_worker::{Context, Failure};

haul_tests::on_both! {
    the_same_id_again_is_the_same_job,
    the_same_id_with_other_arguments_is_a_conflict,
    each_of_many_is_answered_in_order,
    a_wrong_option_is_a_clear_error,
    a_header_that_is_no_number_is_a_clear_error,
    a_delayed_job_starts_in_time_and_not_before,
    a_job_that_is_due_already_starts_at_once,
    jobs_are_found_by_batch_tag_and_task,
    a_wait_that_is_over_says_so_and_a_later_one_succeeds,
    a_wait_for_an_unknown_job_says_so,
    a_watch_sees_states_and_progress,
    a_job_that_nobody_recorded_is_recorded_when_it_comes,
}

async fn the_same_id_again_is_the_same_job(fleet: Fleet) {
    let first = fleet.job([Act::Ok]).id("order-1").await.unwrap();
    assert_eq!(first.existing(), None);
    let second = fleet.job([Act::Ok]).id("order-1").await.unwrap();
    assert_eq!(second.existing(), Some(StateKind::Queued));
    let _worker = fleet.scripted().await;
    assert_eq!(result(&first).await, "done");
    let third = fleet.job([Act::Ok]).id("order-1").await.unwrap();
    assert_eq!(third.existing(), Some(StateKind::Succeeded));
    assert_eq!(result(&third).await, "done");
    result(&fleet.submit([Act::Ok]).await).await;
    assert_eq!(fleet.desk.starts(first.id()), 1);
}

async fn the_same_id_with_other_arguments_is_a_conflict(fleet: Fleet) {
    let first = fleet.job([Act::Ok]).id("order-1").await.unwrap();
    let error = fleet.job([Act::Fatal]).id("order-1").await.unwrap_err();
    assert!(matches!(
        &error,
        SubmitError::Protocol(protocol::SubmitError::Conflict(id)) if id == first.id()
    ));
    assert!(error.to_string().contains("choose a new id"), "{error}");
    let _worker = fleet.scripted().await;
    assert_eq!(result(&first).await, "done");
}

async fn each_of_many_is_answered_in_order(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = |n: u32| {
        let job = fleet.named(&n.to_string(), [Act::Ok]);
        match n % 10 {
            3 => job.queue("no dots."),
            7 => job.attempts(0),
            _ => job,
        }
    };
    let answers = fleet.producer.submit_many((0..3000).map(job)).await;
    assert_eq!(answers.len(), 3000);
    for (n, answer) in answers.iter().enumerate() {
        match (n % 10, answer) {
            (3, Err(SubmitError::Option(why))) => assert!(why.contains("queue name"), "{why}"),
            (7, Err(error)) => assert!(error.to_string().contains("0 attempts"), "{error}"),
            (3 | 7, other) => panic!("number {n}: {other:?}"),
            (_, answer) => assert!(answer.is_ok(), "number {n}: {answer:?}"),
        }
    }
    for n in [0, 999, 1000, 1001, 2999] {
        assert_eq!(result(answers[n].as_ref().unwrap()).await, n.to_string());
    }
}

async fn a_wrong_option_is_a_clear_error(fleet: Fleet) {
    let ok = || fleet.job([Act::Ok]);
    let tags = |count: u32| (0..count).fold(ok(), |job, n| job.tag(format!("t{n}").as_str()));
    for (job, hint) in [
        (
            ok().queue("a.b"),
            "`a.b` is not a queue name: it must be 1 to 64 characters",
        ),
        (ok().queue(""), "is not a queue name"),
        (ok().id("a b"), "is not a job id"),
        (ok().tag("a,b"), "is not a tag"),
        (ok().attempts(0), "it must be 1 to 1000"),
        (ok().attempts(1001), "it must be 1 to 1000"),
        (ok().timeout(Duration::ZERO), "time-out of zero"),
        (tags(33), "33 tags"),
        (
            fleet.named(&"x".repeat(256 * 1024), [Act::Ok]),
            "pass a reference",
        ),
    ] {
        let error = job.await.unwrap_err().to_string();
        assert!(
            error.contains("was not submitted") && error.contains(hint),
            "{error}"
        );
    }
    assert_eq!(fleet.producer.counts().await.unwrap(), []);
}

/// RabbitMQ would close the connection, and JSON has no word for it.
async fn a_header_that_is_no_number_is_a_clear_error(fleet: Fleet) {
    let mut wrong = spec("default", 1);
    let nan = HeaderValue::Float(f64::NAN);
    wrong.headers.insert("ratio".to_owned(), nan);
    let jobs = [wrong, spec("default", 2)].map(|spec| Submission {
        spec,
        due: None,
        chosen_id: false,
    });
    let answers = fleet.producer.submit_all(jobs.into()).await;
    let error = answers[0].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("header `ratio` is not a finite number"),
        "{error}"
    );
    assert!(answers[1].is_ok(), "{answers:?}");
}

async fn a_delayed_job_starts_in_time_and_not_before(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let wait = Duration::from_secs(3);
    let due = Timestamp::now() + wait;
    let at = fleet.job([Act::Ok]).at(due).await.unwrap();
    let delayed = fleet.job([Act::Ok]).delay(wait).await.unwrap();
    for job in [at, delayed] {
        result(&job).await;
        let started = fleet.find(job.id()).await.life.started.unwrap();
        // One unit of the delay levels, and as much for two clocks.
        let early = due.since(started);
        assert!(early <= Duration::from_millis(200), "{early:?} early");
    }
}

async fn a_job_that_is_due_already_starts_at_once(fleet: Fleet) {
    let past = Timestamp::from_millis(Timestamp::now().as_millis() - 60_000);
    let job = fleet.job([Act::Ok]).at(past).await.unwrap();
    assert_eq!(
        fleet.find(job.id()).await.life.state.kind(),
        StateKind::Queued
    );
    let _worker = fleet.scripted().await;
    result(&job).await;
}

async fn jobs_are_found_by_batch_tag_and_task(fleet: Fleet) {
    let batch: haul_common::job::BatchId = "import-7".parse().unwrap();
    let both = fleet.job([Act::Ok]).batch(batch).tag("eu").await.unwrap();
    let tagged = fleet
        .job([Act::Ok])
        .tag("eu")
        .lane(Lane::Low)
        .await
        .unwrap();
    fleet.submit([Act::Ok]).await;
    let found = async |filter: &str| {
        let page = PageRequest {
            limit: 10,
            after: None,
        };
        let listing = fleet
            .producer
            .list(&filter.parse().unwrap(), page)
            .await
            .unwrap();
        let ids = listing.records.into_iter().map(|record| record.spec.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found("batch:import-7").await, [both.id().clone()]);
    assert_eq!(
        found("tag:eu").await,
        [tagged.id().clone(), both.id().clone()]
    );
    assert_eq!(
        found("tag:eu lane:low state:queued").await,
        [tagged.id().clone()]
    );
    assert_eq!(found("task:test.*").await.len(), 3);
    assert_eq!(found("state:dead,succeeded").await.len(), 0);
}

async fn a_wait_that_is_over_says_so_and_a_later_one_succeeds(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let job = fleet.submit([Act::Hold]).await;
    let error = job.wait(Duration::from_millis(200)).await.unwrap_err();
    assert!(
        matches!(&error, WaitError::NotYet { id, .. } if id == job.id()),
        "{error}"
    );
    fleet.desk.let_go(1);
    let again = fleet.producer.job(job.id().clone());
    assert_eq!(
        result::<haul_tests::scripted::Scripted>(&again).await,
        "done"
    );
}

async fn a_wait_for_an_unknown_job_says_so(fleet: Fleet) {
    let job = fleet.producer.wait(&"nobody".parse().unwrap(), LONG).await;
    assert!(matches!(job, Err(WaitError::NotFound(_))), "{job:?}");
}

async fn a_watch_sees_states_and_progress(fleet: Fleet) {
    let job = fleet.submit([Act::Hold]).await;
    let mut watch = Box::pin(job.watch().await.unwrap());
    let mut states = vec![within("a first look", watch.next()).await.unwrap()];
    let _worker = fleet.scripted().await;
    while states.last().unwrap().progress.is_none() {
        states.push(within("its progress", watch.next()).await.unwrap());
    }
    let half = states.last().unwrap().progress.clone().unwrap();
    assert_eq!((half.done, half.total, &*half.message), (1, 2, "half"));
    fleet.desk.let_go(1);
    states.extend(within("its end", watch.collect::<Vec<_>>()).await);
    let mut kinds: Vec<_> = states.iter().map(|r| r.life.state.kind()).collect();
    kinds.dedup();
    let all = [StateKind::Queued, StateKind::Running, StateKind::Succeeded];
    assert_eq!(kinds, all);
}

async fn a_job_that_nobody_recorded_is_recorded_when_it_comes(fleet: Fleet) {
    let _worker = fleet.worker(|w| w.queue("default", 1).handle(count)).await;
    let spec = spec("default", 7);
    fleet
        .post(encode(&Envelope::first(spec.clone(), None)))
        .await;
    let record = fleet.ended(&spec.id).await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded);
    assert_eq!(record.spec.digest(), spec.digest());
}

async fn count(_ctx: Context<haul_tests::scripted::Desk>, args: Count) -> Result<u64, Failure> {
    Ok(args.n)
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Count {
    n: u64,
}

impl haul_common::job::Task for Count {
    const NAME: &'static str = "test.count";
    type Output = u64;
}

/// What only a broker of its own can do: the answer goes to a queue.
mod reply {
    use super::*;
    use lapin::options::{BasicGetOptions, QueueDeclareOptions};

    haul_tests::on_fleet! { a_job_answers_to_the_queue_that_asked }

    async fn a_job_answers_to_the_queue_that_asked(fleet: Fleet) {
        let _worker = fleet.worker(|w| w.queue("default", 1).handle(count)).await;
        let (_connection, channel, _) = fleet.amqp().await;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let answers = channel
            .queue_declare("".into(), options, Default::default())
            .await
            .unwrap();
        let mut spec = spec("default", 7);
        spec.reply_to = Some(answers.name().to_string());
        let id = spec.id.clone();
        let submission = Submission {
            spec,
            due: None,
            chosen_id: false,
        };
        fleet
            .producer
            .submit_all(vec![submission])
            .await
            .remove(0)
            .unwrap();
        let answer = haul_tests::wait::eventually("the answer", LONG, || async {
            let options = BasicGetOptions { no_ack: true };
            channel
                .basic_get(answers.name().clone(), options)
                .await
                .unwrap()
                .ok_or("nothing")
        })
        .await;
        assert_eq!(answer.data, b"7");
        let correlation = answer.properties.correlation_id().clone();
        assert_eq!(correlation.unwrap().as_str(), &*id);
    }
}
