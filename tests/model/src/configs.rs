//! The configurations that are checked. Each allows a few faults in every place and order; all
//! together at once would be more states than any machine has room for.

use haul_common::faults::Bug;

use crate::{rules::Rules, state::Budget};

const NONE: Budget = Budget {
    crashes: 0,
    pauses: 0,
    cuts: 0,
    copies: 0,
    confirms: 0,
    answers: 0,
    early: 0,
    rollbacks: 0,
    wipes: 0,
    cancels: 0,
    redrives: 0,
    releases: 0,
    guards: 0,
};

macro_rules! rules {
    ($name:literal, $($fault:ident: $count:literal),*) => {
        Rules::new($name, Budget { $($fault: $count,)* ..NONE })
    };
}

/// Those of every test run.
pub fn small() -> Vec<Rules> {
    let mut early = rules!("submitted for later, early", early: 1, copies: 1);
    early.later = true;
    // The messages alone bring every job to its end; healers are only sooner.
    let mut unhealed = rules!("crash, confirm lost, no healers", crashes: 1, confirms: 1);
    unhealed.healers = [false, false];
    let mut two = rules!("answer lost, two deliveries", answers: 1, copies: 1);
    two.hands = [2, 1];
    vec![
        rules!("nothing goes wrong",),
        rules!("crash", crashes: 1),
        rules!("freeze", pauses: 1),
        rules!("copy, cut", copies: 1, cuts: 1),
        rules!("confirm lost, cancel", confirms: 1, cancels: 1),
        rules!("crash, answer lost", crashes: 1, answers: 1),
        rules!("cancel, redrive", cancels: 1, redrives: 1),
        rules!("guard, release", guards: 1, releases: 1),
        rules!("wipe", wipes: 1),
        rules!("rollback", rollbacks: 1),
        rules!("crash, guard", crashes: 1, guards: 1),
        rules!("freeze, cancel", pauses: 1, cancels: 1),
        rules!("wipe, cancel", wipes: 1, cancels: 1),
        early,
        unhealed,
        two,
    ]
}

/// Those that take minutes; to be run as a program, optimised.
pub fn large() -> Vec<Rules> {
    let mut two = rules!("crash, two deliveries each", crashes: 1);
    two.hands = [2, 2];
    let mut later = rules!("crash, copy, submitted for later", crashes: 1, copies: 1);
    later.later = true;
    vec![
        rules!("2 crashes", crashes: 2),
        rules!("crash, confirm lost", crashes: 1, confirms: 1),
        rules!("crash, cancel", crashes: 1, cancels: 1),
        rules!("crash, redrive", crashes: 1, redrives: 1),
        rules!("crash, freeze", crashes: 1, pauses: 1),
        rules!("freeze, cut", pauses: 1, cuts: 1),
        rules!("rollback, cancel", rollbacks: 1, cancels: 1),
        rules!("rollback, redrive", rollbacks: 1, redrives: 1),
        rules!("rollback, guard", rollbacks: 1, guards: 1),
        rules!("rollback, crash", rollbacks: 1, crashes: 1),
        rules!("wipe, crash", wipes: 1, crashes: 1),
        later,
        two,
    ]
}

/// A world in which this bug shows: with it planted, and what it is caught by.
pub fn planted(bug: Bug) -> (Rules, &'static str) {
    let (rules, caught) = match bug {
        Bug::AckBeforeConfirm => (rules!("nothing",), "acknowledged, then durable"),
        Bug::ConfirmIgnored => (rules!("confirm lost", confirms: 1), "never nowhere"),
        Bug::NoFenceOnFinish => (rules!("freeze", pauses: 1), "an old fence never writes"),
        Bug::PublishAfterAck => (rules!("nothing",), "acknowledged, then durable"),
        Bug::SweepByIdOnly => (
            rules!("crash", crashes: 1),
            "nothing is taken from the living",
        ),
        Bug::WorkerIdReused => (rules!("cut", cuts: 1), "nothing is taken from the living"),
        Bug::GuardAfterAck => (rules!("guard", guards: 1), "acknowledged, then durable"),
        Bug::CancelForgotten => (
            rules!("cancel", cancels: 1),
            "cancelled before start, never started",
        ),
        Bug::EndedRunsAgain => (rules!("copy", copies: 1), "terminal stays terminal"),
        Bug::CopyDropped => (rules!("cut", cuts: 1), "acknowledged, then durable"),
    };
    (rules.with(bug), caught)
}
