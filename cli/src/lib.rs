//! `haul`, the one binary: worker, producer and operator's tool.
//!
//! Read in this order: [`args`] (every command and flag), [`settings`] (where flags, environment
//! and file meet), [`commands`] (one file per command: parse, call, print), [`output`] and
//! [`exit`] (what a script sees of it).

mod args;
mod bench;
mod callbacks;
mod commands;
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

/// Reads the text of a settings file as the binary does, and tells what it says. For tests.
///
/// # Errors
/// When it is none: what is wrong, without passwords.
pub fn settings_in(text: &str) -> Result<String, String> {
    settings::parse(text).map(|file| format!("{file:?}"))
}
