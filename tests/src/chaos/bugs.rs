//! A checker must be able to fail: each bug that can be planted, under the faults that bring it
//! out, has to be caught, and the same faults without it have to pass.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use haul_common::faults::Bug;
use serde_json::Value;
use tokio::{process::Command, sync::Semaphore, task::JoinSet};

use super::{
    act::{Act, Link},
    drive::PLANT,
    load::Pace,
    plan::{Counts, Mix, Shape, Step, Tracks},
};
use crate::proxy::Mode;

/// Faults that bring out some of the bugs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// The broker takes nothing, workers die meanwhile, and the store forgets everything: whoever
    /// acknowledged too early leaves nothing.
    Outage,
    /// A worker stands still for longer than its lease, another dies: jobs are taken from both.
    Zombie,
    /// Acknowledgements get lost with their connections: messages of running and of ended jobs
    /// come again.
    Cuts,
    /// Two processes on one file, one of which dies between two steps: what a test has time for.
    Brief,
}

/// Together they bring out every bug.
const ALL: [Scenario; 3] = [Scenario::Outage, Scenario::Zombie, Scenario::Cuts];
const WORKERS: usize = 3;
/// Each has servers of its own, which mostly wait.
const AT_ONCE: usize = 3;

impl Scenario {
    const fn bugs(self) -> &'static [Bug] {
        match self {
            Self::Outage => &[
                Bug::AckBeforeConfirm,
                Bug::ConfirmIgnored,
                Bug::PublishAfterAck,
                Bug::GuardAfterAck,
                Bug::CopyDropped,
            ],
            Self::Zombie => &[Bug::NoFenceOnFinish, Bug::SweepByIdOnly],
            Self::Cuts => &[
                Bug::WorkerIdReused,
                Bug::CancelForgotten,
                Bug::EndedRunsAgain,
            ],
            Self::Brief => &[Bug::CancelForgotten, Bug::EndedRunsAgain],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Zombie => "zombie",
            Self::Cuts => "cuts",
            Self::Brief => "brief",
        }
    }

    /// How the fleet is.
    pub fn shape(self) -> Shape {
        let time = Duration::from_secs(15);
        let usual = Shape {
            form: self.name(),
            embedded: false,
            cluster: false,
            workers: WORKERS,
            slots: 32,
            pace: Pace {
                jobs: 300,
                time,
                rate: Some(20),
                open: 1000,
            },
            mix: Mix::Slow,
            drain: Duration::from_secs(40),
            faults_for: time,
            counts: Counts::default(),
        };
        if self != Self::Brief {
            return usual;
        }
        let time = Duration::from_secs(3);
        Shape {
            embedded: true,
            workers: 2,
            slots: 8,
            pace: Pace {
                jobs: 600,
                time,
                rate: Some(200),
                open: 1000,
            },
            mix: Mix::Quick { slow: 0 },
            faults_for: time,
            ..usual
        }
    }

    /// What is done to it.
    pub fn tracks(self) -> Tracks {
        let mut tracks = Tracks::default();
        match self {
            Self::Outage => {
                tracks.servers = vec![at(
                    8000,
                    Act::Alarm {
                        memory: true,
                        ms: 7000,
                    },
                )];
                tracks.kills = vec![kill(10_500, 0), kill(11_500, 1)];
                tracks.pauses = vec![at(13_500, Act::RedisFlush)];
            }
            Self::Zombie => {
                tracks.kills = vec![kill(7000, 1), kill(11_000, 2)];
                let (worker, ms) = (0, 14_000);
                tracks.pauses = vec![at(8000, Act::Pause { worker, ms })];
            }
            Self::Cuts => {
                let cut = |ms, worker| {
                    let (link, mode) = (Link::Amqp, Mode::Deaf);
                    at(
                        ms,
                        Act::Cut {
                            worker,
                            link,
                            mode,
                            ms: 2500,
                        },
                    )
                };
                tracks.cuts = vec![cut(6000, 0), cut(9000, 1), cut(12_000, 2)];
            }
            Self::Brief => {
                let point = "finish.recorded";
                let crash = |ms, worker| at(ms, Act::Point { worker, point });
                tracks.kills = vec![crash(1000, 0), crash(2000, 1)];
            }
        }
        tracks
    }
}

fn at(ms: u64, act: Act) -> Step {
    (Duration::from_millis(ms), act)
}

fn kill(ms: u64, worker: usize) -> Step {
    at(
        ms,
        Act::Kill {
            worker,
            back_ms: 1000,
        },
    )
}

/// What became of one scenario, with or without a bug.
#[derive(Debug)]
struct Trial {
    scenario: Scenario,
    bug: Option<Bug>,
    /// What the checker found.
    found: Vec<String>,
}

impl Trial {
    /// It was caught, or there was nothing to catch.
    const fn is_right(&self) -> bool {
        self.found.is_empty() == self.bug.is_none()
    }
}

/// Runs each scenario, or only that one, without a bug and with each of its bugs; says whether all
/// is right.
///
/// # Errors
/// When a trial could not be carried out.
pub async fn run(dir: &Path, seed: u64, only: Option<Scenario>) -> Result<bool> {
    let scenarios = only.map_or(ALL.to_vec(), |only| vec![only]);
    let wanted = scenarios.into_iter().flat_map(|scenario| {
        let bugs = scenario.bugs().iter().copied().map(Some);
        let all = [None].into_iter().chain(bugs);
        all.map(move |bug| (scenario, bug))
    });
    let (turns, mut trials) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (scenario, bug) in wanted {
        let (turns, dir) = (turns.clone(), dir.to_owned());
        trials.spawn(async move {
            let _turn = turns.acquire().await?;
            try_one(scenario, bug, &dir, seed).await
        });
    }
    let mut right = true;
    while let Some(trial) = trials.join_next().await {
        let trial = trial??;
        right &= trial.is_right();
        println!(
            "{:<5} {:<8} {:<20} {}",
            if trial.is_right() { "ok" } else { "WRONG" },
            trial.scenario.name(),
            trial.bug.map_or("no bug", Bug::name),
            trial.found.join(", "),
        );
    }
    Ok(right)
}

/// In a process of its own, for a bug is planted in a whole process.
async fn try_one(scenario: Scenario, bug: Option<Bug>, dir: &Path, seed: u64) -> Result<Trial> {
    let name = bug.map_or("no-bug", Bug::name);
    let keep: PathBuf = dir.join("bugs").join(name);
    let _ = std::fs::remove_dir_all(keep.join(format!("{}-{seed}", scenario.name())));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["scenario", "--scenario", scenario.name()])
        .args(["--seed", &seed.to_string()])
        .arg("--keep")
        .arg(&keep)
        .env_remove(PLANT)
        .envs(bug.map(|bug| (PLANT, bug.name())))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.status().await?;
    let verdict = keep
        .join(format!("{}-{seed}", scenario.name()))
        .join("verdict.json");
    let text = std::fs::read(&verdict).with_context(|| verdict.display().to_string())?;
    let report: Value = serde_json::from_slice(&text)?;
    let counts = report["verdict"]["safety"]
        .as_object()
        .context("no counts")?;
    let broken = counts.iter().filter(|(_, count)| **count != 0);
    let found = broken
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    Ok(Trial {
        scenario,
        bug,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_scenario_that_brings_it_out() {
        let mut bugs: Vec<Bug> = ALL.iter().flat_map(|it| it.bugs()).copied().collect();
        bugs.sort();
        let mut all = Bug::ALL;
        all.sort();
        assert_eq!(bugs, all);
    }
}
