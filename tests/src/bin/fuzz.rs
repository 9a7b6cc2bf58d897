//! Fuzzes every decoder within this process; see `haul_tests::fuzz`.
//!
//! `fuzz [--inputs N] [--seed N] [--target NAME] [--threads N]` prints a table and ends with 1 when
//! an input made a target fail; such inputs are kept below `target/fuzz`.
//! `fuzz --target NAME --replay FILE` runs one of them again.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use haul_tests::{
    fuzz::{Plan, Target, replay, run, targets},
    worker_process::peak_memory_kib,
};

const USAGE: &str = "fuzz [--inputs N] [--seed N] [--target NAME] [--threads N] [--replay FILE]";

fn main() -> Result<ExitCode> {
    let mut plan = Plan {
        seed: fastrand::u64(..),
        inputs: 1_000_000,
        threads: std::thread::available_parallelism()?.get() as u64,
        keep: PathBuf::from("target/fuzz"),
    };
    let (mut only, mut again) = (None, None);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().context(USAGE)?;
        match flag.as_str() {
            "--inputs" => plan.inputs = value.replace('_', "").parse()?,
            "--seed" => plan.seed = value.parse()?,
            "--threads" => plan.threads = value.parse::<u64>()?.max(1),
            "--target" => only = Some(value),
            "--replay" => again = Some(PathBuf::from(value)),
            _ => bail!(USAGE),
        }
    }
    let wanted = |target: &Target| only.as_ref().is_none_or(|name| target.name == name);
    let all: Vec<Target> = targets().into_iter().filter(wanted).collect();
    match (all.as_slice(), again) {
        ([], _) => bail!("there is no such target"),
        ([target], Some(file)) => {
            println!("{:?}", replay(target, &file));
            Ok(ExitCode::SUCCESS)
        }
        (_, Some(_)) => bail!("--replay needs --target"),
        (all, None) => Ok(fuzz(all, &plan)),
    }
}

fn fuzz(all: &[Target], plan: &Plan) -> ExitCode {
    println!("seed {}", plan.seed);
    println!(
        "{:<16}{:>12}{:>12}{:>12}{:>10}",
        "target", "inputs", "accepted", "refused", "seconds"
    );
    let (mut inputs, mut failed) = (0, 0);
    for target in all {
        let report = run(target, plan);
        let count = report.accepted + report.refused;
        println!(
            "{:<16}{count:>12}{:>12}{:>12}{:>10.1}",
            target.name,
            report.accepted,
            report.refused,
            report.took.as_secs_f64()
        );
        for failure in &report.failures {
            println!(
                "FAILED {}\n  kept in {}",
                failure.what,
                failure.path.display()
            );
        }
        inputs += count;
        failed += report.failures.len();
    }
    println!(
        "{inputs} inputs, {failed} failures, {} MiB at most",
        peak_memory_kib("self") / 1024
    );
    ExitCode::from(u8::from(failed > 0))
}
