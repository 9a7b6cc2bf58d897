use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::job::{Progress, Reason, Spec, WorkerId, json};
use crate::time::Timestamp;

fn times() -> impl Strategy<Value = Timestamp> {
    (0..4_102_444_800_000_i64).prop_map(Timestamp::from_millis)
}

fn workers() -> impl Strategy<Value = WorkerId> {
    "[A-Za-z0-9_.-]{1,64}".prop_map(|id| id.parse().unwrap())
}

fn reasons() -> impl Strategy<Value = Reason> {
    proptest::sample::select(Reason::ALL)
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Blocked),
        Just(State::Queued),
        times().prop_map(|due| State::Scheduled { due }),
        times().prop_map(|due| State::Retrying { due }),
        (workers(), times()).prop_map(|(worker, began)| State::Running { worker, began }),
        (times(), ".{0,99}").prop_map(|(finished, text)| State::Succeeded {
            finished,
            result: json(&text).unwrap()
        }),
        (times(), reasons()).prop_map(|(finished, reason)| State::Dead { finished, reason }),
        times().prop_map(|finished| State::Cancelled { finished }),
    ]
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let attempt = (workers(), times(), times(), option::of(".+"), ".*").prop_map(
        |(worker, started, finished, error, log)| Attempt {
            number: 1,
            fence: Fence(0),
            worker,
            started,
            finished,
            outcome: Outcome::Failed,
            error,
            log,
        },
    );
    vec(attempt, 0..6).prop_map(|mut attempts| {
        for (attempt, fence) in attempts.iter_mut().zip(0_u64..) {
            attempt.fence = Fence(fence);
        }
        attempts
    })
}

prop_compose! {
    fn lives()(
        state in states(),
        counters in (1..1000_u32, 9..9_000_000_000_000_000_u64, 0..5000_u32, 0..9_u32),
        cancel_requested: bool,
        started in option::of(times()),
        error in option::of(".+"),
    ) -> Life {
        let (attempt, fence, starts, crashes) = counters;
        let fence = Fence(fence);
        Life { state, attempt, fence, starts, crashes, cancel_requested, started, error }
    }
}

prop_compose! {
    fn records()(
        life in lives(),
        created in times(),
        progress in option::of((0..9_u64, 0..9_u64, ".*")),
        log in ".*",
        attempts in attempts(),
        raw in option::of(vec(any::<u8>(), 0..40)),
        deadline in option::of(times()),
        batch in option::of("[A-Za-z0-9_.-]{1,64}"),
    ) -> Record {
        let args = json(&[1, 2]).unwrap();
        let mut spec = Spec::new("a.b".parse().unwrap(), "q".parse().unwrap(), args);
        spec.deadline = deadline;
        spec.batch = batch.map(|batch| batch.parse().unwrap());
        let progress = progress.map(|(done, total, message)| Progress { done, total, message });
        Record { spec, life, created, progress, log, attempts, raw }
    }
}

fn fields(pairs: Pairs) -> Fields {
    // The latest of each counts.
    let fields: BTreeMap<_, _> = pairs.into_iter().collect();
    fields.into_iter().collect()
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in records()) {
        let read = fields(write(&record)).read().unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{record:?}"));
    }

    #[test]
    fn a_record_begins_as_the_script_expects(record in records()) {
        let names: Vec<_> = write(&record).into_iter().map(|(name, _)| name).collect();
        prop_assert!(names.starts_with(&FIRST.map(Cow::Borrowed)));
    }

    #[test]
    fn a_head_begins_with_its_version(life in lives()) {
        prop_assert!(texts::head(&life).starts_with(&version(&life.version())));
    }

    #[test]
    fn fields_left_from_an_earlier_state_do_not_matter(before in records(), life in lives()) {
        let from = before.life.version();
        let step = Step { from, life, ended: None };
        let pairs = write(&before).into_iter().chain(write_step(&step)).collect();
        let read = fields(pairs).read().unwrap();
        prop_assert_eq!(format!("{:?}", read.life), format!("{:?}", step.life));
    }
}

#[test]
fn history_is_a_ring() {
    let args = json(&()).unwrap();
    let spec = Spec::new("a".parse().unwrap(), "q".parse().unwrap(), args);
    let now = Timestamp::from_millis(1_800_000_000_000);
    let mut record = Record::new(spec, Life::queued(), now);
    let mut pairs = write(&record);
    for n in 0..u64::from(ATTEMPTS_KEPT) + 20 {
        let worker: WorkerId = "w".parse().unwrap();
        let running = record
            .life
            .claim(worker, Fence(1_800_000_000_000_000 + n), now)
            .unwrap();
        let released = running.life.release(now).unwrap();
        record.life = released.life.clone();
        pairs.extend(write_step(&released));
    }
    let read = fields(pairs).read().unwrap();
    assert_eq!(read.attempts.len(), ATTEMPTS_KEPT as usize);
    assert!(read.attempts.is_sorted_by_key(|attempt| attempt.fence));
    assert_eq!(
        read.attempts[0].fence,
        Fence(1_800_000_000_000_020),
        "the oldest gave way"
    );
}

#[test]
fn the_log_of_a_lost_attempt_stays_with_the_record() {
    let args = json(&()).unwrap();
    let spec = Spec::new("a".parse().unwrap(), "q".parse().unwrap(), args);
    let now = Timestamp::from_millis(1);
    let mut record = Record::new(spec, Life::queued(), now);
    record.life = record
        .life
        .claim("w".parse().unwrap(), Fence(1), now)
        .unwrap()
        .life;
    record.log = "last words".into();
    for (step, log) in [
        (record.life.lose(now).unwrap(), "last words"),
        (record.life.release(now).unwrap(), ""),
    ] {
        let pairs = write(&record)
            .into_iter()
            .chain(write_step(&step))
            .collect();
        assert_eq!(fields(pairs).read().unwrap().log, log);
    }
}

#[test]
fn what_is_wrong_with_a_record_is_named() {
    let error = Fields::default().read().unwrap_err();
    assert_eq!(error, "it has no spec");
}
