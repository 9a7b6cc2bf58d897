//! `haul run`: a command for each of many items, in the foreground, each item a job that survives
//! this process.
//!
//! [`source`] reads items, [`identity`] names run and jobs, [`intake`] submits, [`follow`] is the
//! loop around a worker in this process, [`display`] and [`summary`] tell a person.

mod display;
mod ended;
mod follow;
mod identity;
mod intake;
mod source;
mod summary;

use std::{num::NonZeroU32, time::Duration};

use clap::Args;
use haul_common::time::parse_duration;

use self::{follow::Follow, identity::Identity, intake::Intake, source::Source};
use super::worker::cores;
use crate::{exit::Exit, session::Session};

pub(crate) use identity::is_run_queue;

/// What to run, for what.
#[derive(Debug, Args)]
#[command(after_help = "\
Items are the lines of stdin (empty ones are left out), the files of --files, or what stands
behind `:::`. Each takes the place of {} in the command, or goes to its end where there is no {}.
No shell is involved; for one, run: sh -c 'COMMAND \"$1\"' sh

What a command prints is shown when it has ended, never mixed with another's; of a flood, the last
64 KiB. Every item is a job of its own in haul.db (or --broker sqlite:PATH). Ctrl-C lets what runs
finish, a second one stops it; either way, and also after a crash, the same command with --resume
does what is left and repeats nothing that succeeded.

Ends with 3 if an item failed in all its attempts.

Examples:
  haul run -j4 -- sha256sum {} ::: a.txt b.txt c.txt
  haul run --files 'in/*.png' -- convert {} -resize 50% {}.small.png
  find . -name '*.log' | haul run --retries 2 --timeout 1m -- gzip")]
pub(crate) struct RunArgs {
    /// Run this many at once [default: one for each core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroU32>,
    /// Try an item that failed again, up to this often, after 1s, 2s, 4s … up to 1m
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
    /// How long one attempt may take, such as 30s or 5m [default: as long as it likes]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Go on with the last run of this command in this directory
    #[arg(long)]
    resume: bool,
    /// Take the files that match as items, sorted, such as 'in/*.png'
    #[arg(long, value_name = "GLOB")]
    files: Option<String>,
    /// The command and its arguments; `::: ITEM …` ends it
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs the command for each item.
///
/// # Errors
/// When the command line is wrong, an item failed for good, or it was interrupted.
pub(crate) async fn run(session: &Session, args: RunArgs) -> anyhow::Result<()> {
    let (command, items) = split(args.command)?;
    if !session.settings.is_embedded() {
        return Err(Exit::usage(
            "haul run works its jobs off in this process, on a SQLite file; a fleet's haul run \
             comes later\n      use --broker sqlite:haul.db, or submit to the fleet with: haul \
             job push shell.run",
        ));
    }
    let source = Source::open(items, args.files.as_deref())?;
    let cwd = std::env::current_dir()?;
    let cwd = cwd
        .to_str()
        .ok_or_else(|| Exit::usage("this directory's name is not UTF-8"))?;
    let slots = args.jobs.map_or_else(cores, |jobs| jobs.get() as usize);
    let producer = session.connect().await?;
    let (identity, is_resumed) = Identity::settle(&producer, &command, cwd, args.resume).await?;
    if args.resume && !is_resumed {
        session.say("haul: no earlier run of this command in this directory; starting one");
    }
    let intake = Intake {
        identity,
        command,
        cwd: cwd.into(),
        attempts: args.retries.saturating_add(1),
        timeout: args.timeout,
        is_resumed,
    };
    Follow::start(session, producer, intake, source, slots)
        .await?
        .run()
        .await
}

/// Divides at `:::`.
fn split(mut words: Vec<String>) -> anyhow::Result<(Vec<String>, Option<Vec<String>>)> {
    let Some(at) = words.iter().position(|word| word == ":::") else {
        return Ok((words, None));
    };
    let items = words.split_off(at).into_iter().skip(1).collect();
    if words.is_empty() {
        return Err(Exit::usage("no command stands before `:::`"));
    }
    Ok((words, Some(items)))
}
