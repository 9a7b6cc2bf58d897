//! The forms of the suite.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{
    load::Pace,
    plan::{Counts, Mix, Shape},
};

/// How long all may take to be done after the last fault.
const DRAIN: Duration = Duration::from_secs(60);

/// All in three minutes: what every change has to pass.
pub fn ci() -> Shape {
    let time = Duration::from_secs(105);
    Shape {
        form: "ci",
        embedded: false,
        cluster: false,
        workers: 4,
        slots: 8,
        pace: Pace {
            jobs: 21_000,
            time,
            rate: Some(200),
            open: 2000,
        },
        mix: Mix::Quick { slow: 120 },
        drain: DRAIN,
        faults_for: time,
        counts: Counts {
            first_kills: 5,
            kills: 6,
            points: 2,
            pauses: 3,
            cuts: 6,
            clocks: 0,
            rabbits: 2,
            redises: 1,
            truncations: 1,
            flushes: 0,
            slows: 0,
            alarms: 1,
            full_disks: 0,
            ..Counts::default()
        },
    }
}

/// As many jobs as the machine allows, in a quarter of an hour.
pub fn soak() -> Shape {
    let time = Duration::from_secs(780);
    Shape {
        form: "soak",
        embedded: false,
        cluster: false,
        workers: 8,
        slots: 16,
        pace: Pace {
            jobs: 2_000_000,
            time,
            rate: None,
            open: 2000,
        },
        mix: Mix::Quick { slow: 20 },
        drain: DRAIN,
        faults_for: time,
        counts: Counts {
            first_kills: 5,
            kills: 171,
            points: 24,
            pauses: 20,
            cuts: 60,
            clocks: 6,
            rabbits: 20,
            redises: 14,
            truncations: 4,
            flushes: 2,
            slows: 4,
            alarms: 4,
            full_disks: 2,
            ..Counts::default()
        },
    }
}

/// Four processes on one SQLite file.
pub fn embedded() -> Shape {
    let time = Duration::from_secs(120);
    Shape {
        form: "embedded",
        embedded: true,
        cluster: false,
        workers: 4,
        slots: 8,
        pace: Pace {
            jobs: 200_000,
            time,
            rate: None,
            open: 2000,
        },
        mix: Mix::Quick { slow: 20 },
        drain: DRAIN,
        faults_for: time,
        counts: Counts {
            kills: 94,
            points: 6,
            pauses: 10,
            full_disks: 3,
            torn: 12,
            ..Counts::default()
        },
    }
}

/// Clusters that lose nodes, and workers that are replaced.
pub fn nightly() -> Shape {
    let time = Duration::from_secs(300);
    Shape {
        form: "nightly",
        embedded: false,
        cluster: true,
        workers: 4,
        slots: 8,
        pace: Pace {
            jobs: 30_000,
            time,
            rate: Some(100),
            open: 2000,
        },
        mix: Mix::Quick { slow: 60 },
        drain: DRAIN,
        faults_for: time,
        counts: Counts {
            first_kills: 5,
            kills: 6,
            leaders: 6,
            primaries: 4,
            upgrades: 3,
            ..Counts::default()
        },
    }
}

impl Counts {
    fn kinds(&mut self) -> [(&'static str, &mut u32); 17] {
        [
            ("first-kills", &mut self.first_kills),
            ("kills", &mut self.kills),
            ("points", &mut self.points),
            ("pauses", &mut self.pauses),
            ("cuts", &mut self.cuts),
            ("clocks", &mut self.clocks),
            ("rabbits", &mut self.rabbits),
            ("redises", &mut self.redises),
            ("truncations", &mut self.truncations),
            ("flushes", &mut self.flushes),
            ("slows", &mut self.slows),
            ("alarms", &mut self.alarms),
            ("full-disks", &mut self.full_disks),
            ("torn", &mut self.torn),
            ("leaders", &mut self.leaders),
            ("primaries", &mut self.primaries),
            ("upgrades", &mut self.upgrades),
        ]
    }

    /// As many in `time` as there are in `usual`, but one of each kind at least.
    pub fn scale(&mut self, usual: Duration, time: Duration) {
        for (_, count) in self.kinds() {
            let scaled = u128::from(*count) * time.as_millis() / usual.as_millis().max(1);
            *count = u32::try_from(scaled)
                .unwrap_or(u32::MAX)
                .max((*count).min(1));
        }
    }

    /// Leaves out the kinds that are not among `only`, and those among `without`.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn keep(&mut self, only: &[String], without: &[String]) -> Result<()> {
        let mut kinds = self.kinds();
        for named in only.iter().chain(without) {
            if kinds.iter().all(|(name, _)| name != named) {
                bail!("there is no kind of fault `{named}`");
            }
        }
        for (name, count) in &mut kinds {
            let here = |list: &[String]| list.iter().any(|named| named == name);
            if here(without) || (!only.is_empty() && !here(only)) {
                **count = 0;
            }
        }
        Ok(())
    }
}
