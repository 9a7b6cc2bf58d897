//! `haul job watch`

use clap::Args;

use crate::{
    commands::watch::{self, Target, WatchOptions},
    session::Session,
};

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Of a batch, and of a whole queue (queue:NAME alone), all jobs are counted, also those that come
later, at no cost that grows with their number. Any other filter means the jobs that match it when
the watching begins, 100000 at most; of those, 2000 are looked at each time, in turn.

On a terminal, bars are redrawn in place; into a pipe, a line is printed whenever something changed.
Ctrl-C ends the watching and leaves the jobs alone. Ends with 0 if all succeeded, 3 if any ended
dead or cancelled, 5 if no job is known.

Examples:
  haul job watch import-7
  haul job watch queue:mail
  haul job watch 'task:email.* age:<1h' --json")]
pub(crate) struct WatchArgs {
    /// A batch, or words of a filter (see: haul job list --help)
    #[arg(value_name = "BATCH|FILTER", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    options: WatchOptions,
}

/// Watches the jobs.
///
/// # Errors
/// When the words are wrong, no job is known, or one did not succeed.
pub(super) async fn run(session: &Session, args: WatchArgs) -> anyhow::Result<()> {
    Target::check(&args.words)?;
    let producer = session.connect().await?;
    let target = Target::read(&producer, &args.words).await?;
    watch::watch(session, &producer, target, &args.options).await
}
