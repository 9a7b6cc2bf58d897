//! Haul beside what one would write by hand.
//!
//! [`bare`] is that: the same work over lapin and redis alone. [`pair`] runs it and `haul bench` in
//! turn, A B A B, and prints rates as ratios, so that a slow minute of the machine meets both.

mod bare;
mod pair;
mod span;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Haul beside what one would write by hand")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The baseline: the same workloads as `haul bench`, over lapin and redis alone
    #[command(subcommand)]
    Bare(bare::Workload),
    /// Baseline and Haul in turn; a table of ratios on stdout
    Pair(pair::PairArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bare(workload) => bare::run(workload).await,
        Command::Pair(args) => pair::run(args).await,
    }
}
