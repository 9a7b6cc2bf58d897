//! What must hold, holds in every state that can be reached; and what must be found, is found.

use haul_common::faults::Bug;
use haul_model::{Event, check, configs};

#[test]
fn the_protocol_keeps_its_promises_in_every_order_of_events() {
    let mut seen = Vec::new();
    for rules in configs::small() {
        let report = check(&rules);
        println!("{report}");
        assert!(
            report.failed.is_empty(),
            "{}: {}",
            report.name,
            report.failed.join("\n")
        );
        seen.extend(report.seen);
    }
    let unseen = Event::ALL.iter().filter(|event| !seen.contains(event));
    let unseen: Vec<_> = unseen.collect();
    assert!(unseen.is_empty(), "nothing was shown about {unseen:?}");
}

#[test]
fn each_planted_bug_is_found_and_by_the_promise_that_it_breaks() {
    for bug in Bug::ALL {
        let (rules, caught) = configs::planted(bug);
        let report = check(&rules);
        let promise = |failed: &String| failed.split(':').next().unwrap_or_default().to_owned();
        let broken: Vec<_> = report.failed.iter().map(promise).collect();
        println!(
            "| {:<20} | {:<12} | {} |",
            bug.name(),
            rules.name,
            broken.join("; ")
        );
        let failed = report.failed.join("\n");
        assert!(
            broken.contains(&caught.to_owned()),
            "{}: {failed}",
            bug.name()
        );
    }
}
