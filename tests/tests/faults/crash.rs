//! A process ends at every point between two steps whose order matters; a healthy worker then has
//! to bring every job to the end that it should have, once.
//!
//! What a swap of two steps breaks, tried by hand:
//! * finish acknowledges, then records and publishes: at `finish.recorded` nobody gets the message
//!   again, so that a failed job stays `retrying` ("waited for: the end of …") and a dead job has no
//!   letter ("waited for: no message left … dead: 0").
//! * what lost its job acknowledges instead of giving back: the job whose janitor crashed stays
//!   `queued` for ever ("waited for: the end of …").

use std::time::Duration;

use futures_util::future::join_all;
use haul_common::{
    job::{JobId, Lane, Outcome, StateKind, json},
    ports::{Publication, Route},
    protocol::Protocol,
};
use haul_tests::{
    site::{BOTH, Kind, Site, outcomes},
    wait::SOON,
    worker_process::{QUEUE, Settings, WorkerProcess, run_once},
};
use haul_worker::lease::take;

/// A worker's lease, the doubt after it, and a slow machine.
const TAKEN_OVER: Duration = Duration::from_secs(45);

fn crash_at(point: &'static str) -> Settings {
    Settings {
        crash_at: Some(point),
        ..Settings::default()
    }
}

/// A worker crashes there.
async fn crashes(site: &Site, settings: &Settings) {
    let mut worker = WorkerProcess::spawn(site, settings);
    let status = worker.ended(TAKEN_OVER).await;
    assert!(!status.success(), "{:?}", settings.crash_at);
}

/// A healthy worker then ends the job like this, and nothing is left.
async fn heals(site: &Site, id: &JobId, expected: &Expected, what: &str) {
    let mut healthy = WorkerProcess::ready(site, &Settings::default()).await;
    let record = site.ended(id, TAKEN_OVER).await;
    assert_eq!(
        record.life.state.kind(),
        expected.state,
        "{what}: {record:?}"
    );
    assert_eq!(outcomes(&record), expected.outcomes, "{what}: {record:?}");
    let ledger = site.ledger();
    assert_eq!(ledger.count("start", id), expected.starts, "{what}: starts");
    assert_eq!(
        ledger.count("effect", id),
        expected.effects,
        "{what}: effects"
    );
    site.is_empty(expected.letters, SOON).await;
    healthy.term();
    assert!(healthy.ended(SOON).await.success(), "{what}");
    // What the first one did not acknowledge would come to the second one, and change something.
    let _second = WorkerProcess::ready(site, &Settings::default()).await;
    site.is_empty(expected.letters, SOON).await;
    let again = site.record(id).await;
    assert_eq!(outcomes(&again), expected.outcomes, "{what}: it ran again");
    assert_eq!(
        site.ledger().count("start", id),
        expected.starts,
        "{what}: it ran again"
    );
}

struct Expected {
    state: StateKind,
    outcomes: Vec<Outcome>,
    starts: usize,
    effects: usize,
    letters: u64,
}

fn succeeds(outcomes: &[Outcome], starts: usize) -> Expected {
    Expected {
        state: StateKind::Succeeded,
        outcomes: outcomes.to_vec(),
        starts,
        effects: 1,
        letters: 0,
    }
}

async fn at_worker_point(
    kind: Kind,
    settings: Settings,
    script: &'static [&'static str],
    expected: Expected,
) {
    let site = Site::of(kind).await;
    let id = site.submit(script).await;
    crashes(&site, &settings).await;
    let what = format!("{kind:?} {:?} {script:?}", settings.crash_at);
    heals(&site, &id, &expected, &what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_two_steps_of_an_attempt_neither_loses_nor_repeats_its_end() {
    use Outcome::{Failed, Lost, Succeeded};
    let guarded = Settings {
        guard_after: Duration::from_millis(300),
        ..crash_at("guard.published")
    };
    join_all(BOTH.map(|kind| {
        let guarded = guarded.clone();
        async move {
            let at =
                |point, script, expected| at_worker_point(kind, crash_at(point), script, expected);
            tokio::join!(
                at("claim.granted", &["ok"], succeeds(&[Lost, Succeeded], 1)),
                at("finish.recorded", &["ok"], succeeds(&[Succeeded], 1)),
                at("finish.published", &["ok"], succeeds(&[Succeeded], 1)),
                at(
                    "finish.recorded",
                    &["fail 1"],
                    succeeds(&[Failed, Succeeded], 2)
                ),
                at(
                    "finish.published",
                    &["fail 1"],
                    succeeds(&[Failed, Succeeded], 2)
                ),
                at_worker_point(
                    kind,
                    guarded,
                    &["sleep_ms 1000"],
                    succeeds(&[Lost, Succeeded], 2)
                ),
            );
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_around_a_dead_letter_leaves_a_dead_job_with_a_letter() {
    let one = |kind, point, letters| async move {
        let site = Site::of(kind).await;
        let id = site.job(&["fail"]).attempts(1).await.unwrap().id().clone();
        crashes(&site, &crash_at(point)).await;
        let expected = Expected {
            state: StateKind::Dead,
            outcomes: vec![Outcome::Failed],
            starts: 1,
            effects: 0,
            letters,
        };
        heals(&site, &id, &expected, point).await;
    };
    join_all(BOTH.map(|kind| async move {
        // A crash after the publishing makes a second letter: nobody can tell.
        tokio::join!(
            one(kind, "finish.recorded", 1),
            one(kind, "finish.published", 2)
        );
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_copy_is_put_off_leaves_one_job() {
    join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let id = site.submit(&["sleep_ms 1500"]).await;
        let record = site.record(&id).await;
        let copy = haul_common::job::Envelope::first(record.spec, None);
        let copy = Publication {
            message: haul_common::wire::encode(&copy),
            route: Route::Lane(QUEUE.parse().unwrap(), Lane::Normal),
        };
        site.producer.backend().broker.publish(vec![copy]).await;
        crashes(&site, &crash_at("put_off.published")).await;
        let starts = 1 + site.ledger().count("start", &id);
        let expected = succeeds(&[Outcome::Lost, Outcome::Succeeded], starts);
        heals(&site, &id, &expected, "put_off.published").await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_an_id_is_run_after_a_crash_while_it_was_named() {
    join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let queue: haul_common::job::QueueName = QUEUE.parse().unwrap();
        let args = json(&serde_json::json!({"script": ["ok"]})).unwrap();
        let spec = haul_common::job::Spec::new("test.script".parse().unwrap(), queue.clone(), args);
        let mut message = haul_common::wire::encode(&haul_common::job::Envelope::first(spec, None));
        message.head.message_id = None;
        let broker = &site.producer.backend().broker;
        broker.declare(std::slice::from_ref(&queue)).await.unwrap();
        let route = Route::Lane(queue, Lane::Normal);
        broker.publish(vec![Publication { message, route }]).await;
        crashes(&site, &crash_at("receive.named")).await;
        let _healthy = WorkerProcess::ready(&site, &Settings::default()).await;
        site.did("end", 1, SOON).await;
        site.is_empty(0, SOON).await;
        assert!(site.ledger().total("effect") <= 2, "{:?}", site.ledger());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_a_producer_between_publishing_and_recording_leaves_a_job_that_runs_once() {
    join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let script = r#"{"script":["ok"]}"#;
        let submit = ["submit", "chosen", script];
        assert!(!run_once(&site, Some("submit.published"), &submit).success());
        // Whoever submitted does not know, and submits again.
        assert!(run_once(&site, None, &submit).success());
        let id: JobId = "chosen".parse().unwrap();
        heals(
            &site,
            &id,
            &succeeds(&[Outcome::Succeeded], 1),
            "submit.published",
        )
        .await;
        assert!(run_once(&site, None, &submit).success());
        assert_eq!(site.ledger().total("effect"), 1);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_publishing_and_recording_a_redrive_sends_the_job_round_once() {
    join_all(BOTH.map(|kind| async move {
        let site = Site::of(kind).await;
        let id = site.submit(&["ok"]).await;
        site.producer.cancel(&id).await.unwrap();
        let redrive = ["redrive", &*id];
        assert!(!run_once(&site, Some("redrive.published"), &redrive).success());
        assert_eq!(
            site.record(&id).await.life.state.kind(),
            StateKind::Cancelled
        );
        // It is cancelled, that is ended, until the message comes.
        let _first = WorkerProcess::ready(&site, &Settings::default()).await;
        site.did("end", 1, SOON).await;
        heals(
            &site,
            &id,
            &succeeds(&[Outcome::Succeeded], 1),
            "redrive.published",
        )
        .await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_janitor_crashed_is_not_dropped_by_the_worker_that_lost_it() {
    let site = Site::of(Kind::Fleet).await;
    let frozen = WorkerProcess::ready(&site, &Settings::default()).await;
    let id = site.submit(&["sleep_ms 1000"]).await;
    site.did("start", 1, SOON).await;
    frozen.stop();
    crashes(&site, &crash_at("take_orphan.recorded")).await;
    assert_eq!(site.record(&id).await.life.state.kind(), StateKind::Queued);
    // Its delivery is the only message there is.
    frozen.cont();
    let record = site.ended(&id, TAKEN_OVER).await;
    assert_eq!(outcomes(&record), [Outcome::Lost, Outcome::Succeeded]);
    site.is_empty(0, SOON).await;
}

/// Long enough to take a job, short enough to run out in a test.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_a_job_is_taken_on_a_lease_gives_it_back() {
    let one = |kind, point| async move {
        let site = Site::of(kind).await;
        let id = site.submit(&["ok"]).await;
        let ms = LEASE.as_millis().to_string();
        assert!(!run_once(&site, Some(point), &["lease", &ms]).success());
        let expected = succeeds(&[Outcome::Lost, Outcome::Succeeded], 1);
        heals(&site, &id, &expected, &format!("{kind:?} {point}")).await;
    };
    join_all(BOTH.map(|kind| async move {
        tokio::join!(
            one(kind, "claim.granted"),
            one(kind, "guard.published"),
            one(kind, "lease.guarded"),
        );
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_the_end_of_a_lease_is_told_neither_loses_nor_repeats_it() {
    let one = |kind, point, again| async move {
        let site = Site::of(kind).await;
        let id = site.submit(&["ok"]).await;
        let protocol = Protocol::new(site.producer.backend().clone());
        let queue = QUEUE.parse().unwrap();
        // Told again, its next attempt does not wait for the guard, which comes after the lease.
        let long = if again { TAKEN_OVER * 2 } else { LEASE };
        let taken = take(&protocol, &queue, long, Duration::ZERO).await.unwrap();
        let token = taken.unwrap().token.to_string();
        let fail = ["fail", &*id, &*token];
        assert!(!run_once(&site, Some(point), &fail).success());
        if again {
            assert!(run_once(&site, None, &fail).success());
        }
        let expected = succeeds(&[Outcome::Failed, Outcome::Succeeded], 1);
        heals(&site, &id, &expected, &format!("{kind:?} {point}")).await;
    };
    join_all(BOTH.map(|kind| async move {
        tokio::join!(
            one(kind, "finish.recorded", false),
            one(kind, "finish.recorded", true),
            one(kind, "finish.published", true),
        );
    }))
    .await;
}
