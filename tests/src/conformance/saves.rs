//! Claims about what a running attempt leaves behind, and about watching.

use std::time::Duration;

use futures_util::future::join_all;
use haul_common::{
    job::{CHECKPOINT_BYTES_MAX, Fence, JobId, Progress, WorkerId, json},
    life::Life,
    ports::{Kept, Note, Save, SaveKey, Store, Topic, Watch},
    time::Timestamp,
};

use super::changes::{apply, finish};
use crate::{
    jobs::{claim, failed, found, granted, older, record, running, spec},
    wait::soon,
};

fn note(id: &JobId, fence: Fence, done: u64) -> Note {
    Note {
        id: id.clone(),
        fence,
        progress: Some(Progress {
            done,
            total: 10,
            message: "at Größe 🚚".to_owned(),
        }),
        log: format!("line {done}\n"),
    }
}

fn save(id: &JobId, fence: Fence, key: SaveKey, value: &str) -> Save {
    Save {
        id: id.clone(),
        fence,
        key,
        value: json(value).unwrap(),
    }
}

fn step(name: &str) -> SaveKey {
    SaveKey::Step(name.to_owned())
}

/// Checkpoint and steps, as text.
async fn saved(store: &dyn Store, id: &JobId) -> (Option<String>, Vec<(String, String)>) {
    let saved = store.saved(id).await.unwrap();
    let steps = saved.steps.into_iter();
    (
        saved.checkpoint.map(|value| value.get().to_owned()),
        steps
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
    )
}

/// The latest progress and log are found.
pub async fn progress_and_log_of_the_running_attempt_are_found(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    for done in 1..=3 {
        let note = note(&spec.id, life.fence, done);
        let expected = (note.progress.clone(), note.log.clone());
        assert_eq!(store.note(note).await.unwrap(), Kept::Done);
        let record = found(store, &spec.id).await;
        assert_eq!((record.progress, record.log), expected);
    }
}

/// Checkpoint and steps are found, and the latest of each counts.
pub async fn what_was_saved_is_found(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    assert_eq!(saved(store, &spec.id).await, (None, vec![]));
    for (key, value) in [
        (SaveKey::Checkpoint, "first"),
        (step("download"), "a"),
        (step("Größe: \"x\" 🚚"), "b"),
        (SaveKey::Checkpoint, "second"),
        (step("download"), "c"),
    ] {
        let save = save(&spec.id, life.fence, key, value);
        assert_eq!(store.save(save).await.unwrap(), Kept::Done);
    }
    let pair = |name: &str, value: &str| (name.to_owned(), format!("\"{value}\""));
    let steps = vec![pair("Größe: \"x\" 🚚", "b"), pair("download", "c")];
    let expected = (Some("\"second\"".to_owned()), steps);
    assert_eq!(saved(store, &spec.id).await, expected);
}

/// A step may be named as a store names its own parts.
pub async fn no_name_of_a_step_disturbs_another(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let names = [
        "",
        "checkpoint",
        "state",
        "step",
        ":",
        "steps:checkpoint",
        "0",
    ];
    for name in names {
        let save = save(&spec.id, life.fence, step(name), name);
        assert_eq!(store.save(save).await.unwrap(), Kept::Done);
    }
    let (checkpoint, steps) = saved(store, &spec.id).await;
    assert_eq!((checkpoint, steps.len()), (None, names.len()));
    for (name, value) in steps {
        assert_eq!(value, format!("\"{name}\""));
    }
}

/// The largest checkpoint comes back whole.
pub async fn a_large_checkpoint_is_kept(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let large = "x".repeat(CHECKPOINT_BYTES_MAX - 2);
    let save = save(&spec.id, life.fence, SaveKey::Checkpoint, &large);
    assert_eq!(store.save(save).await.unwrap(), Kept::Done);
    let checkpoint = saved(store, &spec.id).await.0.unwrap();
    assert_eq!(checkpoint.len(), CHECKPOINT_BYTES_MAX);
}

/// The next attempt finds what the last one saved, and may go on from there.
pub async fn the_next_attempt_finds_what_the_last_one_saved(store: &dyn Store) {
    let (spec, worker) = (spec("mail", 1), WorkerId::random());
    let life = running(store, &spec, &worker).await;
    let first = save(&spec.id, life.fence, SaveKey::Checkpoint, "half");
    store.save(first).await.unwrap();
    let due = Timestamp::from_millis(1);
    apply(store, &spec.id, |life| {
        life.retry(failed("x"), due, store.now())
    })
    .await;
    let again = haul_common::ports::Claim {
        attempt: 2,
        ..claim(&spec, &worker)
    };
    let second = granted(store.claim(again).await.unwrap()).life;
    assert_eq!(saved(store, &spec.id).await.0.unwrap(), "\"half\"");
    let more = save(&spec.id, second.fence, SaveKey::Checkpoint, "more");
    assert_eq!(store.save(more).await.unwrap(), Kept::Done);
    let late = save(&spec.id, life.fence, SaveKey::Checkpoint, "late");
    assert_eq!(store.save(late).await.unwrap(), Kept::Lost);
    assert_eq!(saved(store, &spec.id).await.0.unwrap(), "\"more\"");
}

/// An attempt that lost its job writes nothing more.
pub async fn an_old_fence_writes_nothing(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    let before = found(store, &spec.id).await;
    let old = older(&life);
    let noted = store.note(note(&spec.id, old, 5)).await.unwrap();
    assert_eq!(noted, Kept::Lost);
    for key in [SaveKey::Checkpoint, step("a")] {
        let kept = store.save(save(&spec.id, old, key, "x")).await.unwrap();
        assert_eq!(kept, Kept::Lost);
    }
    assert_eq!(saved(store, &spec.id).await, (None, vec![]));
    super::store::assert_same(&found(store, &spec.id).await, &before);
}

/// Once the attempt ended, its own fence is an old one.
pub async fn an_ended_attempt_writes_nothing(store: &dyn Store) {
    let spec = spec("mail", 1);
    let life = running(store, &spec, &WorkerId::random()).await;
    finish(store, &spec.id, Timestamp::now() + Duration::from_secs(60)).await;
    let noted = store.note(note(&spec.id, life.fence, 5)).await.unwrap();
    assert_eq!(noted, Kept::Lost);
    let save = save(&spec.id, life.fence, SaveKey::Checkpoint, "x");
    assert_eq!(store.save(save).await.unwrap(), Kept::Lost);
}

/// The store forgot the job: the attempt is told that, and not that it lost.
pub async fn an_unknown_job_keeps_nothing(store: &dyn Store) {
    let id = JobId::new();
    let noted = store.note(note(&id, Fence(1), 5)).await.unwrap();
    assert_eq!(noted, Kept::Missing);
    let save = save(&id, Fence(1), SaveKey::Checkpoint, "x");
    assert_eq!(store.save(save).await.unwrap(), Kept::Missing);
    assert_eq!(saved(store, &id).await, (None, vec![]));
    assert!(
        store.find(&id).await.unwrap().is_none(),
        "nothing is left behind"
    );
}

// ---- watching

pub(super) async fn tick(watch: &mut Watch, what: &str) {
    soon(what, watch.changed()).await;
}

/// Every change of a job ticks its watch: from its creation to its end.
pub async fn a_watch_ticks_on_every_change_of_its_job(store: &dyn Store) {
    let spec = spec("mail", 1);
    let topic = Topic::Job(spec.id.clone());
    // Watched anew each time: a tick left over from the change before proves nothing.
    let mut watch = store.watch(topic.clone()).await.unwrap();
    store.create(vec![record(spec.clone())]).await.unwrap();
    tick(&mut watch, "a tick for its creation").await;
    let mut watch = store.watch(topic.clone()).await.unwrap();
    let claimed = store
        .claim(claim(&spec, &WorkerId::random()))
        .await
        .unwrap();
    tick(&mut watch, "a tick for its claim").await;
    let mut watch = store.watch(topic.clone()).await.unwrap();
    let fence = granted(claimed).life.fence;
    store.note(note(&spec.id, fence, 1)).await.unwrap();
    tick(&mut watch, "a tick for its progress").await;
    let mut watch = store.watch(topic).await.unwrap();
    finish(store, &spec.id, store.now() + Duration::from_secs(60)).await;
    tick(&mut watch, "a tick for its end").await;
}

/// A wish to stop ticks the watch of wishes.
pub async fn a_wish_to_stop_ticks_the_watch_of_wishes(store: &dyn Store) {
    for n in 0..3 {
        let spec = spec("mail", n);
        running(store, &spec, &WorkerId::random()).await;
        let mut watch = store.watch(Topic::Cancels).await.unwrap();
        apply(store, &spec.id, Life::request_cancel).await;
        tick(&mut watch, "a tick for the wish").await;
    }
}

/// Many watch many jobs: each sees its own end.
pub async fn a_hundred_watches_all_tick(store: &dyn Store) {
    let specs: Vec<_> = (0..100).map(|n| spec("mail", n)).collect();
    store
        .create(specs.iter().cloned().map(record).collect())
        .await
        .unwrap();
    let watching = specs.iter().map(|spec| async {
        let topic = Topic::Job(spec.id.clone());
        let mut watch = store.watch(topic).await.unwrap();
        apply(store, &spec.id, |life| life.cancel(store.now())).await;
        tick(&mut watch, "a tick of one of many").await;
    });
    join_all(watching).await;
}

/// Two watches of one job are as good as one, and the end of one does not end the other.
pub async fn watches_of_one_job_are_independent(store: &dyn Store) {
    let spec = spec("mail", 1);
    let topic = Topic::Job(spec.id.clone());
    let first = store.watch(topic.clone()).await.unwrap();
    let mut second = store.watch(topic).await.unwrap();
    drop(first);
    store.create(vec![record(spec)]).await.unwrap();
    tick(&mut second, "a tick of the second watch").await;
}
