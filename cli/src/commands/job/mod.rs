//! `haul job`

mod act;
mod cancel;
mod edit;
mod lease;
mod list;
mod logs;
mod pull;
mod push;
mod rate;
mod retry;
mod select;
mod show;
mod wait;
mod watch;

use std::time::Duration;

use clap::Subcommand;

pub use self::push::{Row, rows};
pub(crate) use self::{
    cancel::{cancel_chosen, withdraw_chosen},
    retry::retry_chosen,
    select::Bulk,
};
use crate::session::Session;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Submit a job and print its id
    Push(push::PushArgs),
    /// Take jobs for a program that is no worker: run it for each, or print them with a lease
    Pull(pull::PullArgs),
    /// Say that a job that was pulled with --print has succeeded
    Done(lease::DoneArgs),
    /// Say that a job that was pulled with --print has failed
    Fail(lease::FailArgs),
    /// Keep a job that was pulled with --print for longer
    Extend(lease::ExtendArgs),
    /// Show all that is known about a job
    Show(show::ShowArgs),
    /// List jobs, newest first
    List(list::ListArgs),
    /// Print what a job logged, and follow it
    Logs(logs::LogsArgs),
    /// Watch the jobs of a batch or of a filter until all have ended
    Watch(watch::WatchArgs),
    /// Wait until jobs have ended and print their results
    Wait(wait::WaitArgs),
    /// Cancel jobs: at once if they wait, else their handler is told to stop
    Cancel(cancel::CancelArgs),
    /// Give a dead or cancelled job other arguments; retry then sends it
    Edit(edit::EditArgs),
    /// Send dead or cancelled jobs round again, same id, fresh attempts
    Retry(retry::RetryArgs),
}

/// Carries out the command.
///
/// # Errors
/// Every error ends the process with a code of its own.
pub(crate) async fn run(session: &Session, command: JobCommand) -> anyhow::Result<()> {
    match command {
        JobCommand::Push(args) => push::run(session, args).await,
        JobCommand::Pull(args) => pull::run(session, args).await,
        JobCommand::Done(args) => lease::done(session, args).await,
        JobCommand::Fail(args) => lease::fail(session, args).await,
        JobCommand::Extend(args) => lease::extend(session, args).await,
        JobCommand::Show(args) => show::run(session, args).await,
        JobCommand::List(args) => list::run(session, args).await,
        JobCommand::Logs(args) => logs::run(session, args).await,
        JobCommand::Watch(args) => watch::run(session, args).await,
        JobCommand::Wait(args) => wait::run(session, args).await,
        JobCommand::Cancel(args) => cancel::run(session, args).await,
        JobCommand::Edit(args) => edit::run(session, args).await,
        JobCommand::Retry(args) => retry::run(session, args).await,
    }
}

/// `1 job`, `2 jobs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// How long ago, or how long, in the two largest units.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units() {
        let cases = [
            (0, "0ms"),
            (750, "750ms"),
            (8_250, "8.2s"),
            (754_000, "12m34s"),
        ];
        for (ms, text) in cases
            .into_iter()
            .chain([(5_400_000, "1h30m"), (90_000_000, "1d01h")])
        {
            assert_eq!(age(Duration::from_millis(ms)), text);
        }
    }
}
