use super::*;
use crate::job::{Fence, Spec, StateKind, WorkerId, json};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn spec() -> Spec {
    Spec::new(
        "t".parse().unwrap(),
        "q".parse().unwrap(),
        json(&()).unwrap(),
    )
}

fn at(life: Life) -> (Record, Envelope) {
    let record = Record::new(spec(), life, NOW);
    let mut envelope = Envelope::first(record.spec.clone(), None);
    (envelope.attempt, envelope.fence) = (record.life.attempt, record.life.fence);
    (record, envelope)
}

fn running() -> Life {
    Life::queued()
        .claim(WorkerId::random(), Fence(7), NOW)
        .unwrap()
        .life
}

fn applied(arrival: Arrival) -> Life {
    match arrival {
        Arrival::Apply(step) => step.life,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_waiting_job_is_claimed_when_due_and_put_off_until_then() {
    let (record, envelope) = at(Life::queued());
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, NOW),
        Arrival::Claim
    ));
    let due = NOW + Duration::from_secs(60);
    let (record, envelope) = at(Life::scheduled(due));
    let early = arrive(&record, &envelope, Owner::Alive, NOW);
    assert!(matches!(early, Arrival::PutOff(wait) if wait == Duration::from_secs(60)));
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, due),
        Arrival::Claim
    ));
}

#[test]
fn a_stale_message_carries_a_worker_to_the_attempt_that_is_next() {
    let (mut record, envelope) = at(Life::queued());
    record.life.attempt = 3;
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, NOW),
        Arrival::Claim
    ));
}

#[test]
fn only_a_message_from_before_the_claim_tells_of_the_worker() {
    let (record, mut envelope) = at(running());
    assert!(
        !is_of_the_claim(&envelope, &record.life),
        "a guard, or put off"
    );
    envelope.fence = Fence(6);
    assert!(is_of_the_claim(&envelope, &record.life));
}

#[test]
fn a_running_job_is_left_to_a_live_worker_and_taken_from_a_vanished_one() {
    let (record, envelope) = at(running());
    let left = arrive(&record, &envelope, Owner::Alive, NOW);
    assert!(matches!(left, Arrival::PutOff(_)));
    let doubted = arrive(&record, &envelope, Owner::Dropped, NOW);
    assert!(matches!(doubted, Arrival::Keep(_)));
    let taken = applied(arrive(&record, &envelope, Owner::Vanished, NOW));
    assert_eq!(
        (taken.state.kind(), taken.attempt, taken.crashes),
        (StateKind::Queued, 2, 1)
    );
    let own = applied(arrive(&record, &envelope, Owner::MeUnaware, NOW));
    assert_eq!(
        (own.state.kind(), own.attempt, own.crashes),
        (StateKind::Queued, 1, 0)
    );
}

#[test]
fn the_third_lost_worker_and_the_last_lost_attempt_end_the_job() {
    let (mut record, envelope) = at(running());
    record.life.crashes = 2;
    let dead = applied(arrive(&record, &envelope, Owner::Vanished, NOW));
    assert_eq!(dead.state.reason(), Some(Reason::Crashed));
    let (mut record, envelope) = at(running());
    record.spec.max_attempts = 1;
    let dead = applied(arrive(&record, &envelope, Owner::Vanished, NOW));
    assert_eq!(dead.state.reason(), Some(Reason::Crashed));
}

#[test]
fn a_job_that_was_asked_to_stop_is_cancelled_when_its_worker_vanishes() {
    let (mut record, envelope) = at(running());
    record.life = record.life.request_cancel().unwrap().life;
    let life = applied(arrive(&record, &envelope, Owner::Vanished, NOW));
    assert_eq!(life.state.kind(), StateKind::Cancelled);
}

#[test]
fn an_ended_job_drops_messages_but_for_the_redrive_made_from_this_end() {
    let (record, mut envelope) = at(running().lose_for_good(NOW).unwrap().life);
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, NOW),
        Arrival::Ended
    ));
    (envelope.redrive, envelope.attempt) = (true, 1);
    let again = applied(arrive(&record, &envelope, Owner::Alive, NOW));
    assert_eq!((again.state.kind(), again.attempt), (StateKind::Queued, 1));
    envelope.fence = Fence(6);
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, NOW),
        Arrival::Ended
    ));
}

#[test]
fn a_later_attempt_proves_what_the_store_lost_unless_it_is_from_before_a_redrive() {
    let (record, mut envelope) = at(running());
    envelope.attempt = 2;
    let ahead = applied(arrive(&record, &envelope, Owner::Alive, NOW));
    assert_eq!((ahead.state.kind(), ahead.attempt), (StateKind::Queued, 2));
    envelope.fence = Fence(6);
    let late = arrive(&record, &envelope, Owner::Alive, NOW);
    assert!(matches!(late, Arrival::PutOff(_)));
}

#[test]
fn other_content_under_the_same_id_is_a_conflict() {
    let (record, mut envelope) = at(Life::queued());
    envelope.spec.args = json(&1).unwrap();
    assert!(matches!(
        arrive(&record, &envelope, Owner::Alive, NOW),
        Arrival::Conflict
    ));
}

/// A dead job, its first message, and the same job after an edit and a redrive.
fn edited() -> (Record, Envelope, Record) {
    let (before, mut old) = at(running().lose_for_good(NOW).unwrap().life);
    old.redrive = true;
    let mut after = before.clone();
    after.spec = before.spec.edited(json(&1).unwrap()).unwrap();
    after.life = before.life.edit().unwrap().life;
    (before, old, after)
}

#[test]
fn a_message_from_before_an_edit_never_runs() {
    let (_, old, mut after) = edited();
    let dropped = arrive(&after, &old, Owner::Alive, NOW);
    assert!(matches!(dropped, Arrival::Ended), "{dropped:?}");
    after.life = after.life.redrive().unwrap().life;
    let now = arrive(&after, &old, Owner::Alive, NOW);
    assert!(matches!(now, Arrival::PutOff(Duration::ZERO)), "{now:?}");
    after.life.state = State::Retrying {
        due: NOW + Duration::from_secs(9),
    };
    let later = arrive(&after, &old, Owner::Alive, NOW);
    assert!(matches!(later, Arrival::PutOff(wait) if wait == Duration::from_secs(9)));
}

#[test]
fn a_message_from_after_an_edit_that_the_store_lost_brings_it_back() {
    let (mut before, _, after) = edited();
    let mut new = Envelope::first(after.spec.clone(), None);
    (new.fence, new.redrive) = (after.life.fence, true);
    for life in [before.life.clone(), running(), Life::queued()] {
        before.life = life;
        match arrive(&before, &new, Owner::Alive, NOW) {
            Arrival::Edit(step) => assert_eq!(step.life.state.kind(), StateKind::Queued),
            other => panic!("{other:?}"),
        }
    }
    // What knows no less than the message is another life of the job.
    before.life.fence = after.life.fence;
    let other = arrive(&before, &new, Owner::Alive, NOW);
    assert!(matches!(other, Arrival::Conflict), "{other:?}");
}

#[test]
fn an_edit_back_and_forth_is_told_apart_by_fences() {
    let (_, _, one) = edited();
    let mut two = one.clone();
    two.spec = one.spec.edited(json(&()).unwrap()).unwrap();
    two.life = one.life.edit().unwrap().life;
    let mut old = Envelope::first(one.spec.clone(), None);
    (old.fence, old.redrive) = (one.life.fence, true);
    let dropped = arrive(&two, &old, Owner::Alive, NOW);
    assert!(matches!(dropped, Arrival::Ended), "{dropped:?}");
}

#[test]
fn a_passed_deadline_ends_a_waiting_job() {
    let (mut record, mut envelope) = at(Life::queued());
    (record.spec.deadline, envelope.spec.deadline) = (Some(NOW), Some(NOW));
    let life = applied(arrive(&record, &envelope, Owner::Alive, NOW));
    assert_eq!(life.state.reason(), Some(Reason::Deadline));
}

#[test]
fn an_end_is_written_once_and_an_old_fence_is_refused() {
    let life = running();
    let step = life.succeed(json(&1).unwrap(), NOW).unwrap();
    assert!(matches!(settle(&step, &step.life), Settle::Written));
    let mut newer = life;
    newer.fence = Fence(8);
    assert!(matches!(settle(&step, &newer), Settle::Refused));
    let behind = Life::queued();
    assert!(matches!(settle(&step, &behind), Settle::Instead(_)));
}

#[test]
fn a_lost_claim_is_told_again_but_not_over_a_later_one_or_an_end() {
    let attempt = running();
    let told = reassert(&attempt, &Life::queued()).unwrap();
    assert_eq!(told.from, Life::queued().version());
    assert_eq!(told.life.version(), attempt.version());
    let mut later = running();
    later.fence = Fence(8);
    let cancelled = Life::queued().cancel(NOW).unwrap().life;
    for stored in [attempt.clone(), later, cancelled] {
        assert!(reassert(&attempt, &stored).is_none(), "{stored:?}");
    }
}

#[test]
fn a_wish_to_stop_that_came_before_the_end_was_written_is_heeded() {
    let life = running();
    let asked = life.request_cancel().unwrap().life;
    let release = life.release(NOW).unwrap();
    match settle(&release, &asked) {
        Settle::Instead(step) => assert_eq!(step.life.state.kind(), StateKind::Cancelled),
        other => panic!("{other:?}"),
    }
    let success = life.succeed(json(&1).unwrap(), NOW).unwrap();
    match settle(&success, &asked) {
        Settle::Instead(step) => assert_eq!(step.life.state.kind(), StateKind::Succeeded),
        other => panic!("{other:?}"),
    }
}
