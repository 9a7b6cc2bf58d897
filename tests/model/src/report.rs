//! One configuration, checked: a line of a table.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    progress::explore,
    rules::{Event, Rules},
};

/// What came of one configuration.
#[derive(Debug)]
pub struct Report {
    /// Which one.
    pub name: &'static str,
    /// Different states.
    pub states: usize,
    /// Steps to the farthest.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Properties that do not hold, and the way there.
    pub failed: Vec<String>,
    /// What was seen to happen.
    pub seen: Vec<Event>,
}

/// Checks every property in every state that can be reached.
pub fn check(rules: &Rules) -> Report {
    let began = Instant::now();
    let checker = rules.clone().checker();
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut failed: Vec<String> = checker
        .discoveries()
        .into_iter()
        .map(|(property, path)| {
            let world = path.last_state().clone();
            format!("{property}: {:?}\n{world:#?}", path.into_actions())
        })
        .collect();
    let mut depth = checker.max_depth();
    if failed.is_empty() {
        let explored = explore(rules);
        assert_eq!(
            explored.states,
            checker.unique_state_count(),
            "both count the same states"
        );
        depth = explored.depth;
        failed.extend(
            explored
                .trap
                .map(|(way, world)| format!("never stuck: {way:?}\n{world:#?}")),
        );
    }
    Report {
        name: rules.name,
        states: checker.unique_state_count(),
        depth,
        took: began.elapsed(),
        failed,
        seen: rules.seen(),
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.failed.is_empty() {
            "holds"
        } else {
            "FAILS"
        };
        write!(
            f,
            "| {:<34} | {:>10} | {:>5} | {:>7.1} s | {verdict} |",
            self.name,
            self.states,
            self.depth,
            self.took.as_secs_f64()
        )
    }
}
