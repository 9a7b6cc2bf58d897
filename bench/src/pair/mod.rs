//! Baseline and Haul in turn.
//!
//! Each side is processes of its own, started anew for every round, over the same servers, which are
//! emptied in between. A rate is jobs by the wall clock, from the first process's start of work until
//! the last one has recorded and settled everything.

mod cases;
mod clean;
mod process;
mod round;
mod servers;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use process::Side;
use servers::Servers;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Extent {
    /// The main figures, in some two minutes
    Quick,
    /// All dimensions
    Full,
}

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    extent: Extent,
    /// The binary `haul`
    #[arg(long)]
    haul: PathBuf,
    /// amqp://…
    #[arg(long)]
    broker: String,
    /// redis://…
    #[arg(long)]
    store: String,
    /// Process of the broker, to tell its processor time and memory; of a cluster, each node's
    #[arg(long)]
    broker_pid: Vec<u32>,
    /// Process of the store
    #[arg(long)]
    store_pid: Vec<u32>,
    /// Only cases whose name holds this text
    #[arg(long, default_value = "")]
    only: String,
    /// How often each case is measured on each side
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) async fn run(args: PairArgs) -> Result<()> {
    let sides = [
        Side::bare(&args.broker, &args.store)?,
        Side::haul(&args.haul, &args.broker, &args.store),
    ];
    let servers = Servers {
        broker: args.broker_pid.clone(),
        store: args.store_pid.clone(),
    };
    let mut table = table::Table::default();
    let cases = cases::of(args.extent);
    for case in cases.iter().filter(|case| case.name.contains(&args.only)) {
        for round in 1..=case.rounds.unwrap_or(args.rounds) {
            for side in &sides {
                if case.haul_only && side.name == "bare" {
                    continue;
                }
                eprintln!("{} · round {round} · {}", case.name, side.name);
                clean(&sides, &args).await?;
                let samples = round::run(side, case, &servers).await?;
                table.add(case, side.name, samples);
            }
        }
    }
    clean(&sides, &args).await?;
    table.print();
    Ok(())
}

/// What either left behind is in nobody's way.
async fn clean(sides: &[Side], args: &PairArgs) -> Result<()> {
    for side in sides {
        clean::all(side, &args.broker, &args.store).await?;
    }
    Ok(())
}
