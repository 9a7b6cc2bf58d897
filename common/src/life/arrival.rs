//! What the arrival of a message means for its job. Pure, like everything here.
//!
//! A message is a vehicle: it carries a worker to the job, and the record says which attempt is
//! next. A message is dropped only when the job has ended. In every other case the job keeps this
//! message, or a confirmed copy of it, so that it is never nowhere.

use std::time::Duration;

use super::{Life, Step, Version, crash_limit_reached};
use crate::{
    job::{Envelope, Reason, Record, State},
    time::Timestamp,
};

/// A message this much too early starts its job all the same: one unit of the delay levels.
pub const EARLY_TOLERANCE: Duration = Duration::from_millis(100);

/// Who runs a running job, as far as the worker that got its message can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The record names this worker, which does not run it: the answer to its claim was lost.
    MeUnaware,
    /// A worker that is alive, maybe this one.
    Alive,
    /// Another worker that seems alive, but that the broker took this message back from.
    Dropped,
    /// A worker that is not.
    Vanished,
}

/// What the arrival of a message means.
#[derive(Debug, Clone)]
pub enum Arrival {
    /// Claim the attempt that the record names.
    Claim,
    /// Apply this step, then look again.
    Apply(Box<Step>),
    /// Apply this step, and take over the message's arguments; then look again.
    Edit(Box<Step>),
    /// The job has ended: publish what may be missing (a dead letter), then drop the message.
    Ended,
    /// Come again in a while: it is too early, or a live worker has the job.
    PutOff(Duration),
    /// The id belongs to a job of other content.
    Conflict,
}

/// Decides what the arrival of `envelope` means for the job of `record`.
pub fn arrive(record: &Record, envelope: &Envelope, owner: Owner, now: Timestamp) -> Arrival {
    let life = &record.life;
    if record.spec.digest() != envelope.spec.digest() {
        return other_arguments(record, envelope, now);
    }
    if life.state.kind().is_terminal() {
        return match life.redrive() {
            // The message itself carries the redrive: it holds even if nobody recorded it.
            Ok(step) if envelope.redrive && envelope.fence == life.fence => {
                Arrival::Apply(Box::new(step))
            }
            _ => Arrival::Ended,
        };
    }
    if envelope.attempt > life.attempt && envelope.fence >= life.fence {
        // A confirmed message proves that the attempts before it ended; the store lost that. An
        // older fence would be a late copy from before a redrive, which proves nothing.
        return apply(life.fast_forward(envelope.attempt));
    }
    match &life.state {
        State::Running { began, .. } => running(record, owner, *began, now),
        State::Blocked => apply(life.unblock()),
        _ if record.spec.deadline.is_some_and(|deadline| deadline <= now) => apply(life.give_up(
            Reason::Deadline,
            "the job's deadline passed".to_owned(),
            now,
        )),
        waiting => match waiting.due().map(|due| due.since(now)) {
            Some(early) if early > EARLY_TOLERANCE => Arrival::PutOff(early),
            _ => Arrival::Claim,
        },
    }
}

/// The arguments may be those from before an edit, or the store lost the edit; else it is another
/// job.
fn other_arguments(record: &Record, envelope: &Envelope, now: Timestamp) -> Arrival {
    let Record { spec, life, .. } = record;
    if envelope.spec.was(spec.digest())
        && let Some(step) = life.catch_up(envelope.attempt, envelope.fence)
    {
        return Arrival::Edit(Box::new(step));
    }
    if !spec.was(envelope.spec.digest()) {
        return Arrival::Conflict;
    }
    if life.state.kind().is_terminal() {
        return Arrival::Ended;
    }
    // What is put off is the job as it is now, so that the message's arguments end here.
    Arrival::PutOff(
        life.state
            .due()
            .map_or(Duration::ZERO, |due| due.since(now)),
    )
}

fn running(record: &Record, owner: Owner, began: Timestamp, now: Timestamp) -> Arrival {
    let life = &record.life;
    match owner {
        Owner::Alive => Arrival::PutOff(patience(now.since(began))),
        // A moment tells whether it only lost its connection.
        Owner::Dropped => Arrival::PutOff(PATIENCE_MIN),
        Owner::MeUnaware => apply(life.unclaim()),
        Owner::Vanished if crash_limit_reached(life, &record.spec) => {
            apply(life.lose_for_good(now))
        }
        Owner::Vanished => apply(life.lose(now)),
    }
}

const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// How long to leave a copy alone whose job a live worker runs: soon at first, for its worker may
/// just have died, and ever rarer for long jobs.
fn patience(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(PATIENCE_MIN, PATIENCE_MAX)
}

fn apply(step: Result<Step, super::Illegal>) -> Arrival {
    // Every caller has just looked at the state; should it ever be illegal, a later look decides.
    step.map_or(Arrival::PutOff(Duration::from_secs(1)), |step| {
        Arrival::Apply(Box::new(step))
    })
}

/// What to do about the end of an attempt that the store did not accept as it was.
#[derive(Debug, Clone)]
pub enum Settle {
    /// It is written already: only the answer was lost.
    Written,
    /// The job has moved under the attempt, which still counts: write this instead.
    Instead(Box<Step>),
    /// Somebody else has the job, or it has ended: this attempt no longer counts.
    Refused,
}

/// Decides what becomes of `step`, which the store refused because the job is at `stored`.
pub fn settle(step: &Step, stored: &Life) -> Settle {
    if stored.version() == step.life.version() {
        return Settle::Written;
    }
    let from = stored.version();
    if stored.fence < step.life.fence && !stored.state.kind().is_terminal() {
        // The store is behind: it lost its newest writes.
        return Settle::Instead(Box::new(Step {
            from,
            ..step.clone()
        }));
    }
    if from
        == (Version {
            cancel_requested: true,
            ..step.from
        })
    {
        return Settle::Instead(Box::new(heed(step, from)));
    }
    Settle::Refused
}

/// Decides what becomes of an attempt at `running`, whose claim the store has lost: the step that
/// tells the store of it again. Nothing where the job, now at `stored`, has no place for it.
pub fn reassert(running: &Life, stored: &Life) -> Option<Step> {
    if stored.fence >= running.fence || stored.state.kind().is_terminal() {
        return None;
    }
    let mut life = running.clone();
    life.cancel_requested = stored.cancel_requested;
    Some(Step {
        from: stored.version(),
        life,
        ended: None,
    })
}

/// `step`, made before somebody asked the job to stop: an end stands, anything else is cancelled.
fn heed(step: &Step, from: Version) -> Step {
    let mut step = Step {
        from,
        ..step.clone()
    };
    if let (false, Some(ended)) = (step.life.state.kind().is_terminal(), &step.ended) {
        step.life.state = State::Cancelled {
            finished: ended.finished,
        };
    }
    step
}

#[cfg(test)]
mod tests {
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
    fn a_running_job_is_left_to_a_live_worker_and_taken_from_a_vanished_one() {
        let (record, envelope) = at(running());
        let left = arrive(&record, &envelope, Owner::Alive, NOW);
        assert!(matches!(left, Arrival::PutOff(_)));
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
}
