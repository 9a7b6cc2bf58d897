//! The driver of the chaos suite; `tests/chaos` builds and runs it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use haul_tests::chaos::{
    bugs::{self, Scenario},
    drive,
    evidence::Evidence,
    forms,
    plan::{self, Shape},
    report::Report,
};

/// Runs Haul under faults, and checks what came of it.
#[derive(Debug, Parser)]
#[command(name = "tests/chaos")]
struct Args {
    /// What to run.
    #[arg(default_value = "ci")]
    form: Form,
    /// For `check`: the folder of a run.
    dir: Option<PathBuf>,
    /// Everything follows from it: faults, and what jobs do. Random when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// So many jobs at most.
    #[arg(long)]
    jobs: Option<u64>,
    /// Submit, and do harm, for so long; as much harm as that is of the usual time.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only these kinds of faults: first-kills, kills, points, pauses, clocks, cuts, rabbits,
    /// redises, truncations, flushes, slows, alarms, full-disks, torn, leaders, primaries, upgrades.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Not these kinds of faults.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// For `bugs` and `scenario`: which faults.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Where evidence is kept.
    #[arg(long, default_value = "target/chaos")]
    keep: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// All in three minutes.
    Ci,
    /// As many jobs as the machine allows, in a quarter of an hour.
    Soak,
    /// Four processes on one SQLite file.
    Embedded,
    /// Clusters that lose nodes, and workers that are replaced.
    Nightly,
    /// Each planted bug, which must be caught.
    Bugs,
    /// The faults that bring out some of the bugs, with the one that HAUL_PLANT names, if any.
    Scenario,
    /// Judge the folder of a run once more.
    Check,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter("error,haul_tests=info,lapin=off")
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let (mut shape, planned) = match (args.form, args.scenario) {
        (Form::Bugs, scenario) => {
            eprintln!("seed {seed}");
            let right = bugs::run(&args.keep, seed, scenario).await?;
            return Ok(if right {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        (Form::Scenario, scenario) => {
            let scenario = scenario.context("say which --scenario")?;
            (scenario.shape(), Some(scenario.tracks()))
        }
        (Form::Ci, _) => (forms::ci(), None),
        (Form::Soak, _) => (forms::soak(), None),
        (Form::Embedded, _) => (forms::embedded(), None),
        (Form::Nightly, _) => (forms::nightly(), None),
        (Form::Check, _) => {
            let dir = args.dir.unwrap_or(args.keep);
            return Ok(tell(&Report::of(&Evidence::read(&dir)?, &dir)?));
        }
    };
    adjust(&mut shape, &args)?;
    let dir = args.keep.join(format!("{}-{seed}", shape.form));
    eprintln!("seed {seed}; evidence in {}", dir.display());
    let tracks = planned.unwrap_or_else(|| plan::tracks(seed, &shape));
    let run = Box::pin(drive::run(&dir, seed, &shape, tracks));
    Ok(tell(&run.await?))
}

fn adjust(shape: &mut Shape, args: &Args) -> Result<()> {
    if let Some(jobs) = args.jobs {
        shape.pace.jobs = jobs;
    }
    if let Some(seconds) = args.seconds {
        let time = Duration::from_secs(seconds);
        shape.counts.scale(shape.pace.time, time);
        shape.pace.time = time;
        shape.faults_for = shape.pace.time;
    }
    if let Some(rate) = &mut shape.pace.rate {
        *rate = (shape.pace.jobs / shape.pace.time.as_secs().max(1)).max(1);
    }
    shape.counts.keep(&args.only, &args.without)
}

fn tell(report: &Report) -> ExitCode {
    println!("{}", report.table());
    for missed in &report.missed {
        println!("MISSED {missed}");
    }
    if report.missed.is_empty() {
        println!("all good");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
