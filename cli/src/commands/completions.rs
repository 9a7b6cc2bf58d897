//! `haul completions`

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  haul completions bash > ~/.local/share/bash-completion/completions/haul
  haul completions zsh > ~/.zfunc/_haul
  haul completions fish > ~/.config/fish/completions/haul.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell to print the script for
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When stdout takes no more.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "haul", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}
