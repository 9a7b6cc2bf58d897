//! The checker finds what is wrong, and nothing else.

use super::{
    super::{
        evidence::{Event, Evidence, Final, Hit},
        ledger::{Entry, What},
    },
    SAFETY, Verdict, Waits, check,
};

const SECOND: u64 = 1_000_000;

fn entry(what: What, fence: u64, at: u64) -> Entry {
    Entry {
        job: 1,
        fence,
        attempt: 1,
        what,
        at_us: at * SECOND,
        wall_ms: 0,
    }
}

/// One job, accepted at second 1.
fn accepted() -> Evidence {
    Evidence {
        submits: vec![entry(What::Attempted, 0, 1), entry(What::Accepted, 0, 1)],
        ..Evidence::default()
    }
}

fn ended(state: &str, won: &[u64]) -> Final {
    Final {
        job: 1,
        state: state.to_owned(),
        won: won.to_vec(),
        ..Final::default()
    }
}

fn runs(mut evidence: Evidence, process: &str, fence: u64, whats: &[(What, u64)]) -> Evidence {
    let entries = whats.iter().map(|(what, at)| entry(*what, fence, *at));
    let ledger = evidence.ledgers.entry(process.to_owned()).or_default();
    ledger.extend(entries);
    evidence
}

fn whole(evidence: Evidence, process: &str, fence: u64, at: u64) -> Evidence {
    use What::{Done, Effect, Start};
    runs(
        evidence,
        process,
        fence,
        &[(Start, at), (Effect, at), (Done, at)],
    )
}

fn hit(mut evidence: Evidence, hit: Hit, from: u64, until: u64) -> Evidence {
    evidence.events.push(Event {
        hit,
        from_us: from * SECOND,
        until_us: until * SECOND,
        what: String::new(),
    });
    evidence
}

fn with(mut evidence: Evidence, last: Final) -> Evidence {
    evidence.finals.push(last);
    evidence
}

/// Run at second 2 by `a`, then at second 20 by `b`, whose success stands.
fn twice() -> Evidence {
    let once = whole(accepted(), "a", 7, 2);
    with(whole(once, "b", 9, 20), ended("succeeded", &[9]))
}

fn found(evidence: &Evidence) -> Vec<&'static str> {
    let verdict = check(evidence);
    let broken = |name: &&str| verdict.safety[*name] > 0;
    SAFETY.into_iter().filter(broken).collect()
}

fn duplicates(evidence: &Evidence) -> Verdict {
    let verdict = check(evidence);
    assert!(
        verdict.safety.values().all(|count| *count == 0),
        "{verdict:?}"
    );
    verdict
}

#[test]
fn a_job_that_ran_once_and_is_recorded_is_well() {
    let well = with(whole(accepted(), "a", 7, 2), ended("succeeded", &[7]));
    assert!(found(&well).is_empty());
    let verdict = check(&well);
    assert_eq!((verdict.accepted, verdict.completed), (1, 1));
}

#[test]
fn what_was_accepted_and_is_nowhere_is_lost() {
    assert_eq!(found(&accepted()), ["lost"]);
    // Forgetting is no excuse: the message has it.
    let flushed = hit(accepted(), Hit::Rollback, 2, 2);
    assert_eq!(found(&flushed), ["lost"]);
}

#[test]
fn what_was_given_up_before_the_store_forgot_is_in_its_dead_letter() {
    let mut given_up = accepted();
    for (worker, at) in [("a", 7), ("b", 8), ("c", 9)] {
        let run = runs(given_up, worker, at, &[(What::Start, at)]);
        given_up = hit(run, Hit::Killed(worker.to_owned()), at, at);
    }
    let mut forgotten = hit(given_up.clone(), Hit::Rollback, 20, 20);
    assert_eq!(found(&forgotten), ["lost"]);
    forgotten.run.dead_letters.insert(1);
    assert_eq!(check(&forgotten).given_up, 1);
    given_up.run.dead_letters.insert(1);
    assert_eq!(
        found(&given_up),
        ["lost"],
        "the store had no reason to forget"
    );
}

#[test]
fn what_has_not_ended_is_stuck() {
    assert_eq!(found(&with(accepted(), ended("queued", &[]))), ["stuck"]);
}

#[test]
fn what_was_never_submitted_or_refused_must_not_run() {
    let mut refused = with(whole(accepted(), "a", 7, 2), ended("succeeded", &[7]));
    refused.submits[1].what = What::Refused;
    assert_eq!(found(&refused), ["unexpected"]);
    refused.submits.clear();
    assert_eq!(found(&refused), ["unexpected"]);
}

#[test]
fn what_nobody_could_tell_of_may_run_or_not() {
    let mut unknown = accepted();
    unknown.submits[1].what = What::Unknown;
    assert!(found(&unknown).is_empty());
    let ran = with(whole(unknown, "a", 7, 2), ended("succeeded", &[7]));
    assert!(found(&ran).is_empty());
    assert_eq!(check(&ran).recovered, 1);
}

#[test]
fn a_second_run_needs_a_cause() {
    assert_eq!(found(&twice()), ["unexplained"]);
    let crash = hit(twice(), Hit::Killed("a".to_owned()), 3, 3);
    assert_eq!(duplicates(&crash).duplicates["crash"], 1);
    let pause = hit(twice(), Hit::Paused("a".to_owned()), 1, 12);
    assert_eq!(duplicates(&pause).duplicates["overlap"], 1);
    let flush = hit(twice(), Hit::Rollback, 10, 10);
    assert_eq!(duplicates(&flush).duplicates["rollback"], 1);
}

#[test]
fn a_process_that_froze_between_claim_and_start_overlaps() {
    let both = whole(whole(accepted(), "b", 9, 12), "a", 7, 20);
    let both = with(both, ended("succeeded", &[9]));
    assert_eq!(found(&both), ["unexplained"]);
    let pause = hit(both, Hit::Paused("a".to_owned()), 3, 19);
    assert_eq!(duplicates(&pause).duplicates["overlap"], 1);
}

#[test]
fn what_is_no_cause_explains_nothing() {
    let other = hit(twice(), Hit::Killed("b".to_owned()), 30, 30);
    assert_eq!(found(&other), ["unexplained"]);
    let late = hit(twice(), Hit::Killed("a".to_owned()), 15, 15);
    assert_eq!(found(&late), ["unexplained"]);
    let short = hit(twice(), Hit::Paused("a".to_owned()), 2, 5);
    assert_eq!(found(&short), ["unexplained"]);
    let restarts = hit(hit(twice(), Hit::Broker, 3, 15), Hit::Store, 3, 15);
    assert_eq!(found(&restarts), ["unexplained"]);
    let cut = hit(twice(), Hit::NoBroker("a".to_owned()), 1, 19);
    assert_eq!(found(&cut), ["unexplained"]);
    let cut = hit(twice(), Hit::NoStore("a".to_owned()), 2, 7);
    assert_eq!(found(&cut), ["unexplained"]);
}

#[test]
fn a_process_that_lost_both_servers_for_a_moment_overlaps() {
    let no_store = hit(twice(), Hit::NoStore("a".to_owned()), 2, 7);
    let own = hit(no_store.clone(), Hit::NoBroker("a".to_owned()), 3, 4);
    assert_eq!(duplicates(&own).duplicates["overlap"], 1);
    let everybodys = hit(no_store, Hit::Broker, 3, 4);
    assert_eq!(duplicates(&everybodys).duplicates["overlap"], 1);
    let others = hit(twice(), Hit::NoStore("b".to_owned()), 2, 7);
    assert_eq!(found(&hit(others, Hit::Broker, 3, 4)), ["unexplained"]);
}

#[test]
fn a_run_after_an_accepted_success_is_never_explained_by_a_crash() {
    let mut crash = hit(twice(), Hit::Killed("a".to_owned()), 3, 3);
    crash.finals[0].won = vec![7, 9];
    assert_eq!(found(&crash), ["unexplained", "accepted_twice"]);
    crash.finals[0].won = vec![7];
    assert_eq!(found(&crash), ["unexplained", "old_fence_accepted"]);
}

#[test]
fn a_late_end_may_be_accepted_by_a_store_that_forgot_the_other() {
    use What::{Done, Effect, Start};
    // It froze before its end was recorded, or before it had ended.
    for ended_at in [3, 20] {
        let late = [(Start, 2), (Effect, ended_at), (Done, ended_at)];
        let both = whole(runs(accepted(), "a", 7, &late), "b", 9, 12);
        let both = hit(both, Hit::Paused("a".to_owned()), 3, 20);
        let both = with(both, ended("succeeded", &[7]));
        assert_eq!(found(&both), ["unexplained", "old_fence_accepted"]);
        let flush = hit(both, Hit::Rollback, 15, 15);
        assert_eq!(duplicates(&flush).duplicates["overlap"], 1);
    }
}

#[test]
fn a_retry_needs_no_cause_and_a_run_that_was_stopped_does() {
    use What::{Failed, Start, Stopped};
    let retried = runs(accepted(), "a", 7, &[(Start, 2), (Failed, 2)]);
    let retried = with(whole(retried, "b", 9, 20), ended("succeeded", &[9]));
    assert!(found(&retried).is_empty());
    let stopped = runs(accepted(), "a", 7, &[(Start, 2), (Stopped, 2)]);
    let stopped = with(whole(stopped, "b", 9, 20), ended("succeeded", &[9]));
    assert_eq!(found(&stopped), ["unexplained"]);
}

#[test]
fn what_was_cancelled_before_its_start_must_not_start() {
    let mut cancelled = with(accepted(), ended("cancelled", &[]));
    assert_eq!(found(&cancelled), ["lost"], "nobody had asked for it");
    cancelled.submits.push(entry(What::CancelAsked, 0, 2));
    cancelled.submits.push(entry(What::Cancelled, 0, 3));
    assert!(found(&cancelled).is_empty());
    let started = whole(cancelled, "a", 7, 5);
    assert_eq!(found(&started), ["cancelled_but_started"]);
    assert!(found(&hit(started, Hit::Rollback, 4, 4)).is_empty());
}

#[test]
fn an_end_is_in_the_ledger_and_in_the_record() {
    assert_eq!(
        found(&with(accepted(), ended("succeeded", &[7]))),
        ["succeeded_without_end"]
    );
    let unrecorded = whole(accepted(), "a", 7, 2);
    assert_eq!(found(&unrecorded), ["end_not_recorded"]);
    assert!(found(&hit(unrecorded, Hit::Rollback, 4, 4)).is_empty());
}

#[test]
fn a_dead_job_died_of_the_crash_limit() {
    let mut dead = with(accepted(), ended("dead", &[]));
    dead.finals[0].reason = Some("crashed".to_owned());
    assert_eq!(found(&dead), ["dead_without_cause"]);
    dead.finals[0].crashes = 3;
    assert!(found(&dead).is_empty());
    assert_eq!(check(&dead).given_up, 1);
}

#[test]
fn no_step_is_left_out() {
    let mut steps = with(whole(accepted(), "a", 7, 2), ended("succeeded", &[7]));
    let mut step = entry(What::Step, 7, 2);
    step.attempt = 1;
    steps.ledgers.get_mut("a").unwrap().insert(1, step);
    assert_eq!(found(&steps), ["steps_missing"]);
    step.attempt = 0;
    steps.ledgers.get_mut("a").unwrap().insert(1, step);
    assert!(found(&steps).is_empty());
}

#[test]
fn recovery_is_from_the_kill_to_the_next_start() {
    let cut = runs(accepted(), "a", 7, &[(What::Start, 2)]);
    let cut = with(whole(cut, "b", 9, 11), ended("succeeded", &[9]));
    let killed = hit(cut, Hit::Killed("a".to_owned()), 3, 3);
    let verdict = check(&killed);
    let waits = Waits {
        jobs: 1,
        median_ms: 8000,
        most_ms: 8000,
        longest_ms: 8000,
    };
    assert_eq!(verdict.restart, Some(waits));
    assert_eq!(verdict.restart_held, Some(waits));
    assert_eq!(verdict.kills, (1, 1));
    let away = check(&hit(killed, Hit::Store, 4, 5));
    assert_eq!(
        (away.restart, away.restart_held, away.restart_all),
        (None, None, Some(waits))
    );
}
