//! Lets tests in to what reads command lines, settings and files.

use clap::Parser;

use crate::{args, commands, settings};
pub use commands::{
    job::{Row, rows},
    run::items,
};

/// Reads the text of a settings file as the binary does, and tells what it says.
///
/// # Errors
/// When it is none: what is wrong, without passwords.
pub fn settings(text: &str) -> Result<String, String> {
    settings::parse(text).map(|file| format!("{file:?}"))
}

/// Reads a command line, the program's name left out; what it would do, or what would be printed.
///
/// # Errors
/// When it is none.
pub fn command_line<'w>(words: impl Iterator<Item = &'w str>) -> Result<String, String> {
    match args::Cli::try_parse_from(std::iter::once("haul").chain(words)) {
        Ok(cli) => Ok(format!("{:?}", cli.command)),
        Err(error) if error.use_stderr() => Err(error.to_string()),
        Err(asked) => Ok(asked.to_string()),
    }
}
