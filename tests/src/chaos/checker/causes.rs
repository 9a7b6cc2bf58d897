//! What was done to the fleet, and what may follow from it.

use std::collections::HashMap;

use super::{
    super::evidence::{Event, Hit},
    jobs::Run,
};

/// A worker that is silent for this long may be taken for dead: its lease less a heartbeat.
pub(super) const SILENCE_US: u64 = 6_500_000;
/// A worker that has had no line to either server for this long is taken for dead.
const GONE_US: u64 = 900_000;
/// An end that is this old when its process is killed should have been recorded, if its backends
/// answered.
const RECORDED_US: u64 = 2_000_000;

/// What was done to the fleet, ready to be asked.
pub(super) struct Faults<'e> {
    by_process: HashMap<&'e str, Vec<&'e Event>>,
    pub(super) global: Vec<&'e Event>,
    pub(super) kills: Vec<(&'e str, u64)>,
}

impl<'e> Faults<'e> {
    pub(super) fn of(events: &'e [Event]) -> Self {
        let mut faults = Self {
            by_process: HashMap::new(),
            global: Vec::new(),
            kills: Vec::new(),
        };
        for event in events {
            match &event.hit {
                Hit::Broker | Hit::Store | Hit::Rollback => faults.global.push(event),
                Hit::Killed(process)
                | Hit::Ended(process)
                | Hit::Paused(process)
                | Hit::NoBroker(process)
                | Hit::NoStore(process)
                | Hit::Clock(process) => {
                    faults.by_process.entry(process).or_default().push(event);
                    if matches!(event.hit, Hit::Killed(_)) {
                        faults.kills.push((process, event.from_us));
                    }
                }
            }
        }
        faults
    }

    pub(super) fn rollback(&self, from: u64, until: u64) -> bool {
        let back = |event: &&&Event| event.hit == Hit::Rollback && event.within(from, until);
        self.global.iter().find(back).is_some()
    }

    pub(super) fn of_process(&self, process: &str) -> impl Iterator<Item = &Event> {
        let own = self.by_process.get(process).into_iter().flatten();
        own.copied()
    }

    pub(super) fn killed(&self, process: &str) -> Option<u64> {
        let killed = |event: &&Event| matches!(event.hit, Hit::Killed(_) | Hit::Ended(_));
        self.of_process(process)
            .find(killed)
            .map(|event| event.from_us)
    }

    /// Why `next` ran although `first` had run, whose success may have been accepted.
    pub(super) fn class(&self, first: &Run<'_>, next: &Run<'_>, accepted: bool) -> &'static str {
        if self.rollback(first.start, next.start) {
            return "rollback";
        }
        // But by a store that forgot `next`, and was told of the older end then.
        if accepted && !self.rollback(next.start, u64::MAX) {
            return "unexplained";
        }
        if let Some(killed) = self.killed(first.process)
            && killed <= next.start
            && self.could_not_record(first, killed)
        {
            return "crash";
        }
        // The older claim may begin last: its process stood still before its handler began.
        let (from, until) = (first.start.min(next.start), first.start.max(next.start));
        if self.seems_gone(first.process, from, until) {
            return "overlap";
        }
        "unexplained"
    }

    /// Whether the process was silent for so long that others may have taken it for dead.
    fn seems_gone(&self, process: &str, from: u64, until: u64) -> bool {
        let own = |event: &&Event| event.within(from, until);
        let own = || self.of_process(process).filter(own);
        let lasts = |event: &Event, us| event.until_us - event.from_us >= us;
        let frozen = |event: &Event| {
            matches!(event.hit, Hit::Paused(_) | Hit::NoStore(_)) && lasts(event, SILENCE_US)
        };
        // Without its lines to both servers it looks like one that was killed.
        let no_store =
            |event: &Event| matches!(event.hit, Hit::NoStore(_)) && lasts(event, GONE_US);
        let mut global = self.global.iter();
        let no_broker = own().any(|event| matches!(event.hit, Hit::NoBroker(_)))
            || global.any(|event| event.hit == Hit::Broker && event.within(from, until));
        own().any(frozen) || (no_broker && own().any(no_store))
    }

    /// Whether the end of `run` may not have been recorded when its process was killed.
    fn could_not_record(&self, run: &Run<'_>, killed: u64) -> bool {
        let Some((ended, _)) = run.end else {
            return true;
        };
        let hindered = |event: &Event| {
            !matches!(event.hit, Hit::Killed(_) | Hit::Ended(_) | Hit::Clock(_))
                && event.within(ended.saturating_sub(RECORDED_US), killed)
        };
        killed.saturating_sub(ended) < RECORDED_US
            || self.of_process(run.process).any(hindered)
            || self.global.iter().any(|event| hindered(event))
    }
}
