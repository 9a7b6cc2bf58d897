use std::time::Duration;

use super::*;
use crate::job::WorkerId;
use crate::job::{Backoff, Failure, Spec, json};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_060_000);

fn worker() -> WorkerId {
    "w-1".parse().unwrap()
}

fn spec() -> Spec {
    let (task, queue) = ("t".parse().unwrap(), "q".parse().unwrap());
    Spec::new(task, queue, json(&()).unwrap())
}

fn stop() -> Stop {
    Stop {
        outcome: Outcome::Failed,
        error: Some("boom".to_owned()),
    }
}

/// A life in each state, at its second attempt with fence 7.
fn lives() -> Vec<Life> {
    let states = [
        State::Blocked,
        State::Scheduled { due: NOW },
        State::Queued,
        State::Running {
            worker: worker(),
            began: NOW,
        },
        State::Retrying { due: NOW },
        State::Succeeded {
            finished: NOW,
            result: json(&1).unwrap(),
        },
        State::Dead {
            finished: NOW,
            reason: Reason::Fatal,
        },
        State::Cancelled { finished: NOW },
    ];
    let at = |state| Life {
        attempt: 2,
        fence: Fence(7),
        starts: 2,
        ..Life::at(state)
    };
    states.into_iter().map(at).collect()
}

fn running() -> Life {
    lives().swap_remove(3)
}

type Make = fn(&Life) -> Result<Step, Illegal>;

/// Every transition: from which states it is legal, and where it leads.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, Make, Vec<StateKind>, StateKind)> {
    use StateKind::{Blocked, Cancelled, Dead, Queued, Retrying, Running, Scheduled, Succeeded};
    let waiting = || vec![Blocked, Scheduled, Queued, Retrying];
    vec![
        ("unblock", |l| l.unblock(), vec![Blocked], Queued),
        ("fall_due", |l| l.fall_due(), vec![Scheduled, Retrying], Queued),
        ("claim", |l| l.claim(worker(), Fence(9), LATER), vec![Scheduled, Queued, Retrying], Running),
        ("unclaim", |l| l.unclaim(), vec![Running], Queued),
        ("fast_forward", |l| l.fast_forward(3), vec![Blocked, Scheduled, Queued, Retrying, Running], Queued),
        ("succeed", |l| l.succeed(json(&1).unwrap(), LATER), vec![Running], Succeeded),
        ("retry", |l| l.retry(stop(), LATER, LATER), vec![Running], Retrying),
        ("postpone", |l| l.postpone(stop(), LATER, LATER), vec![Running], Retrying),
        ("release", |l| l.release(LATER), vec![Running], Queued),
        ("lose", |l| l.lose(LATER), vec![Running], Queued),
        ("lose_for_good", |l| l.lose_for_good(LATER), vec![Running], Dead),
        ("die", |l| l.die(Reason::Fatal, stop(), LATER), vec![Running], Dead),
        ("give_up", |l| l.give_up(Reason::Deadline, "late".into(), LATER), waiting(), Dead),
        ("cancel", |l| l.cancel(LATER), waiting(), Cancelled),
        ("request_cancel", |l| l.request_cancel(), vec![Running], Running),
        ("stop_cancelled", |l| l.stop_cancelled("asked".into(), LATER), vec![Running], Cancelled),
        ("redrive", |l| l.redrive(), vec![Dead, Cancelled], Queued),
    ]
}

#[test]
fn every_transition_leads_where_the_diagram_says_and_is_illegal_from_everywhere_else() {
    assert_eq!(lives().len(), StateKind::ALL.len());
    for (name, make, from, to) in table() {
        for life in lives() {
            let kind = life.state.kind();
            match make(&life) {
                Ok(step) => {
                    assert!(from.contains(&kind), "{name} from {kind} must be illegal");
                    assert_eq!(step.life.state.kind(), to, "{name} from {kind}");
                    assert_eq!(step.from, life.version(), "{name} from {kind}");
                }
                Err(illegal) => {
                    assert!(!from.contains(&kind), "{name} from {kind}: {illegal}");
                    assert_eq!(illegal.from, kind);
                }
            }
        }
    }
}

#[test]
fn only_leaving_running_ends_an_attempt_and_it_is_the_one_that_ran() {
    for (name, make, _, to) in table() {
        for life in lives() {
            let Ok(step) = make(&life) else { continue };
            // These tell of an attempt that never began, or whose end the store has lost.
            let untold = ["unclaim", "fast_forward"].contains(&name);
            let left = life.state.kind() == StateKind::Running && to != StateKind::Running;
            let leaves = left && !untold;
            assert_eq!(step.ended.is_some(), leaves, "{name}");
            if let Some(ended) = step.ended {
                assert_eq!((ended.number, ended.fence), (2, Fence(7)), "{name}");
                assert_eq!((ended.started, ended.finished), (NOW, LATER), "{name}");
                assert_eq!(ended.worker, worker(), "{name}");
            }
        }
    }
}

#[test]
fn every_transition_changes_the_version() {
    for (name, make, ..) in table() {
        for step in lives().iter().filter_map(|life| make(life).ok()) {
            assert_ne!(step.life.version(), step.from, "{name}");
        }
    }
}

/// attempt, fence, starts, crashes after each way out of and into running.
#[test]
fn counters_move_only_where_they_should() {
    let counters = |step: Step| {
        let life = step.life;
        (life.attempt, life.fence.0, life.starts, life.crashes)
    };
    let queued = lives().swap_remove(2);
    let dead = lives().swap_remove(6);
    let claimed = queued.claim(worker(), Fence(9), LATER).unwrap();
    assert_eq!(counters(claimed), (2, 9, 3, 0));
    let run = running();
    assert_eq!(counters(run.unclaim().unwrap()), (2, 7, 2, 0));
    let succeeded = run.succeed(json(&()).unwrap(), NOW).unwrap();
    assert_eq!(counters(succeeded), (2, 7, 2, 0));
    let retried = run.retry(stop(), LATER, NOW).unwrap();
    assert_eq!(counters(retried), (3, 7, 2, 0));
    let postponed = run.postpone(stop(), LATER, NOW).unwrap();
    assert_eq!(counters(postponed), (2, 7, 2, 0), "costs no attempt");
    assert_eq!(
        counters(run.release(NOW).unwrap()),
        (2, 7, 2, 0),
        "costs no attempt"
    );
    assert_eq!(
        counters(run.lose(NOW).unwrap()),
        (3, 7, 2, 1),
        "costs an attempt"
    );
    assert_eq!(counters(run.lose_for_good(NOW).unwrap()), (2, 7, 2, 1));
    assert_eq!(
        counters(dead.redrive().unwrap()),
        (1, 8, 2, 0),
        "the fence grows"
    );
}

#[test]
fn a_new_attempt_forgets_an_old_wish_to_stop() {
    let mut queued = lives().swap_remove(2);
    queued.cancel_requested = true;
    let claimed = queued.claim(worker(), Fence(9), LATER).unwrap();
    assert!(!claimed.life.cancel_requested);
    let mut dead = lives().swap_remove(6);
    dead.cancel_requested = true;
    assert!(!dead.redrive().unwrap().life.cancel_requested);
}

#[test]
fn a_job_started_when_its_first_attempt_did() {
    let first = Life::queued().claim(worker(), Fence(1), NOW).unwrap().life;
    let again = first.release(NOW).unwrap().life;
    let second = again.claim(worker(), Fence(2), LATER).unwrap().life;
    assert_eq!(second.started, Some(NOW));
}

#[test]
fn an_attempt_ends_no_earlier_than_it_began() {
    let step = running().release(NOW - Duration::from_millis(2)).unwrap();
    assert_eq!(step.ended.unwrap().finished, NOW);
}

#[test]
fn success_clears_the_error_of_an_earlier_attempt_and_release_keeps_it() {
    let mut life = running();
    life.error = Some("boom".to_owned());
    assert_eq!(
        life.release(NOW).unwrap().life.error.as_deref(),
        Some("boom")
    );
    let step = life.succeed(json(&()).unwrap(), NOW).unwrap();
    assert_eq!(step.life.error, None);
}

#[test]
fn a_fence_grows_even_when_the_last_one_was_forgotten() {
    assert_eq!(Fence(7).next(5), Fence(8));
    assert_eq!(Fence(0).next(5), Fence(5));
    assert_eq!(Fence(u64::MAX).next(5), Fence(u64::MAX));
}

// ---- what follows from the end of an attempt

/// A step in short: state, attempt, wait or reason, outcome.
fn short(step: &Step) -> String {
    let ended = step.ended.as_ref().unwrap();
    let state = match &step.life.state {
        State::Retrying { due } => {
            format!("retry {} +{}s", step.life.attempt, due.since(NOW).as_secs())
        }
        State::Dead { reason, .. } => format!("dead {reason}"),
        other => other.kind().to_string(),
    };
    format!("{state}, {}", ended.outcome)
}

/// Judged with 3 attempts and a fixed backoff of 10 s, at attempt 2 or 3, without a deadline or
/// with one 5 s away.
fn judged(ended: &Ended, attempt: u32, deadline: bool) -> String {
    let mut spec = Spec::new(
        "t".parse().unwrap(),
        "q".parse().unwrap(),
        json(&()).unwrap(),
    );
    spec.max_attempts = 3;
    spec.backoff = Backoff::fixed(Duration::from_secs(10)).unwrap();
    spec.deadline = deadline.then(|| NOW + Duration::from_secs(5));
    let life = Life {
        attempt,
        ..running()
    };
    short(&judge(&life, &spec, ended.clone(), NOW, 0.5).unwrap())
}

#[test]
fn an_error_is_kept_up_to_its_limit() {
    let long = "ä".repeat(verdict::ERROR_BYTES_MAX);
    for ended in [
        Ended::Failed(Failure::retry(&long)),
        Ended::Failed(Failure::fatal(&long)),
        Ended::Panicked(long.clone()),
        Ended::Refused(Reason::Malformed, long),
    ] {
        let step = judge(&running(), &spec(), ended, NOW, 0.5).unwrap();
        let error = step.life.error.unwrap();
        assert!(error.len() <= verdict::ERROR_BYTES_MAX, "{}", error.len());
        assert!(error.len() > verdict::ERROR_BYTES_MAX - 20 && error.ends_with("ä … (cut)"));
        assert_eq!(step.ended.unwrap().error, Some(error));
    }
}

#[test]
#[rustfmt::skip]
fn each_end_of_an_attempt_has_its_verdict() {
    let soon = Duration::from_secs(2);
    let late = Duration::from_secs(20);
    let retry = Ended::Failed(Failure::retry("x"));
    // The end; attempts left; last attempt; attempts left but the deadline comes before the next.
    let table = [
        (Ended::Succeeded(json(&1).unwrap()), "succeeded, succeeded", "succeeded, succeeded", "succeeded, succeeded"),
        (retry, "retry 3 +10s, failed", "dead exhausted, failed", "dead deadline, failed"),
        (Ended::Failed(Failure::retry_after(soon, "x")), "retry 3 +2s, failed", "dead exhausted, failed", "retry 3 +2s, failed"),
        (Ended::Failed(Failure::retry_after(late, "x")), "retry 3 +20s, failed", "dead exhausted, failed", "dead deadline, failed"),
        (Ended::Failed(Failure::throttled(soon, "x")), "retry 2 +2s, failed", "retry 3 +2s, failed", "retry 2 +2s, failed"),
        (Ended::Failed(Failure::throttled(late, "x")), "retry 2 +20s, failed", "retry 3 +20s, failed", "dead deadline, failed"),
        (Ended::Failed(Failure::postponed(soon, "x")), "retry 2 +2s, released", "retry 3 +2s, released", "retry 2 +2s, released"),
        (Ended::Failed(Failure::postponed(late, "x")), "retry 2 +20s, released", "retry 3 +20s, released", "dead deadline, released"),
        (Ended::Failed(Failure::fatal("x")), "dead fatal, failed", "dead fatal, failed", "dead fatal, failed"),
        (Ended::Failed(Failure::cancelled()), "cancelled, cancelled", "cancelled, cancelled", "cancelled, cancelled"),
        (Ended::TimedOut(soon), "retry 3 +10s, timed_out", "dead exhausted, timed_out", "dead deadline, timed_out"),
        (Ended::DeadlinePassed, "dead deadline, timed_out", "dead deadline, timed_out", "dead deadline, timed_out"),
        (Ended::Panicked("x".into()), "retry 3 +10s, panicked", "dead exhausted, panicked", "dead deadline, panicked"),
        (Ended::Cancelled { forced: false }, "cancelled, cancelled", "cancelled, cancelled", "cancelled, cancelled"),
        (Ended::Cancelled { forced: true }, "cancelled, cancelled", "cancelled, cancelled", "cancelled, cancelled"),
        (Ended::Refused(Reason::UnknownTask, "x".into()), "dead unknown_task, failed", "dead unknown_task, failed", "dead unknown_task, failed"),
        (Ended::Released, "queued, released", "queued, released", "queued, released"),
    ];
    for (ended, left, last, deadline) in table {
        assert_eq!(judged(&ended, 2, false), left, "{ended:?}, attempts left");
        assert_eq!(judged(&ended, 3, false), last, "{ended:?}, last attempt");
        assert_eq!(judged(&ended, 2, true), deadline, "{ended:?}, deadline near");
    }
}

#[test]
fn an_attempt_that_does_not_run_cannot_end() {
    let spec = spec();
    for life in lives() {
        let judged = judge(&life, &spec, Ended::Released, NOW, 0.5);
        let runs = life.state.kind() == StateKind::Running;
        assert_eq!(judged.is_ok(), runs, "{}", life.state.kind());
    }
}

#[test]
fn a_record_says_how_a_cancelled_attempt_stopped() {
    let spec = spec();
    let error = |forced| {
        let step = judge(&running(), &spec, Ended::Cancelled { forced }, NOW, 0.5).unwrap();
        step.ended.unwrap().error.unwrap()
    };
    assert!(error(false).contains("stopped when asked"));
    assert!(error(true).contains("was aborted"));
}

#[test]
fn losing_workers_is_limited_by_crashes_and_by_attempts() {
    let mut spec = Spec::new(
        "t".parse().unwrap(),
        "q".parse().unwrap(),
        json(&()).unwrap(),
    );
    spec.max_attempts = 10;
    let with = |crashes, attempt| Life {
        crashes,
        attempt,
        ..running()
    };
    assert!(!crash_limit_reached(&with(0, 1), &spec));
    assert!(!crash_limit_reached(&with(CRASH_LIMIT - 2, 2), &spec));
    assert!(crash_limit_reached(&with(CRASH_LIMIT - 1, 3), &spec));
    assert!(crash_limit_reached(&with(0, 10), &spec), "its last attempt");
}

#[test]
fn only_what_ended_badly_is_edited_and_stays_as_it_is_but_for_its_fence() {
    for life in lives() {
        let kind = life.state.kind();
        let Ok(step) = life.edit() else {
            assert!(!matches!(kind, StateKind::Dead | StateKind::Cancelled));
            continue;
        };
        assert_eq!(step.from, life.version());
        let mut expected = life.clone();
        expected.fence = Fence(8);
        assert_eq!(format!("{:?}", step.life), format!("{expected:?}"));
        assert!(life.redrive().unwrap().life.fence <= step.life.fence);
    }
}

#[test]
fn a_record_that_lost_an_edit_catches_up_from_any_state_and_only_forward() {
    for life in lives() {
        assert!(life.catch_up(1, life.fence).is_none());
        let step = life.catch_up(1, Fence(8)).unwrap();
        let now = &step.life;
        assert_eq!((now.state.kind(), now.attempt), (StateKind::Queued, 1));
        assert_eq!((now.fence, now.crashes), (Fence(9), 0));
    }
}
