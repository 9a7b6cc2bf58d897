//! `haul`, the one binary: worker, producer and operator's tool.
//!
//! Read in this order: [`args`] (every command and flag), [`settings`] (where flags, environment
//! and file meet), [`commands`] (one file per command: parse, call, print), [`output`] and
//! [`exit`] (what a script sees of it).

mod args;
mod bench;
mod callbacks;
mod commands;
pub mod door;
mod exit;
mod exporter;
mod log;
mod output;
mod redact;
mod screen;
mod session;
mod settings;
mod shell;
mod signals;
mod systemd;
mod traces;
mod view;

use std::process::ExitCode;

use clap::Parser;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match args::Cli::try_parse() {
        Ok(cli) => exit::report(commands::run(cli)),
        Err(error) => exit::usage(&error),
    }
}
