//! The command line of `haul run`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;
use haul_common::time::parse_duration;
use haul_producer::{Lane, QueueName, TaskName};

use super::{
    halt::Halt,
    source::{Input, Origin},
};
use crate::exit::Exit;

/// What to run, for what.
#[derive(Debug, Args)]
#[command(after_help = "\
Items are the lines of stdin (empty ones are left out), or what one of --input, --files, --csv,
--jsonl or `:::` names. In the command, these take what an item is:
  {}   the item            {/}   without its directory      {#}     its number, from 1
  {.}  without extension   {//}  its directory              {name}  a column of --csv or --jsonl
  {/.} without both
Where there is none of them, the item goes to the end. No shell is involved, and nothing is quoted;
for one, run: sh -c 'COMMAND \"$1\"' sh. Without a command, each item is a line for /bin/sh.

What a command prints is shown when it has ended, never mixed with another's; of a flood, the last
64 KiB (of an attempt that fails, 12 KiB). Every item is a job of its own, in haul.db or wherever
--broker says. On RabbitMQ and Redis, or with --queue, workers elsewhere run the jobs (shell.run
needs --allow-shell there); else this process does.

Ctrl-C lets what runs finish, a second one stops it; either way, and also after a crash, the same
command with --resume does what is left and repeats nothing that succeeded. An item is the same if
its text is, and the size and time of change of a file of --files.

Ends with 3 if an item failed in all its attempts.

Examples:
  haul run -j4 -- sha256sum {} ::: a.txt b.txt c.txt
  haul run --files 'in/*.png' -- convert {} -resize 50% out/{/.}.jpg
  find . -name '*.log' | haul run --retries 2 --timeout 1m -- gzip
  haul run --csv users.csv --task http.request -- '{\"url\": \"https://example.org/{id}\"}'")]
pub(crate) struct RunArgs {
    /// Run this many at once [default: one for each core; elsewhere, what the workers take]
    #[arg(short, long, value_name = "N")]
    pub(super) jobs: Option<NonZeroU32>,
    /// Try an item that failed again, up to this often, after 1s, 2s, 4s … up to 1m
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,
    /// How long one attempt may take, such as 30s or 5m [default: as long as it likes]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Wait so long between the starts of two items
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) delay: Option<Duration>,
    /// Give up once items failed: soon,fail=3 (what runs may finish), now,fail=1 (it is stopped),
    /// soon,fail=10% (of all items), or never
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub(super) halt: Halt,
    /// Before or behind other jobs of its queue: critical, high, normal or low
    #[arg(long, value_name = "LANE", default_value = "normal")]
    pub(super) priority: Lane,
    /// Go on with the last run of this command in this directory
    #[arg(long)]
    pub(super) resume: bool,
    /// Print the commands, and run nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Take the files that match as items, sorted, such as 'in/*.png'
    #[arg(long, value_name = "GLOB", help_heading = "Items")]
    pub(super) files: Option<String>,
    /// Take the lines of this file as items
    #[arg(short = 'a', long, value_name = "FILE", help_heading = "Items")]
    pub(super) input: Option<PathBuf>,
    /// Items of stdin or --input end with a zero byte, as find -print0 writes them
    #[arg(short = '0', long, help_heading = "Items")]
    pub(super) null: bool,
    /// Take the rows of this file as items; its first line names the columns (tabs in *.tsv; - is
    /// stdin)
    #[arg(long, value_name = "FILE", help_heading = "Items")]
    pub(super) csv: Option<PathBuf>,
    /// Take the lines of this file, each a JSON value, as items (- is stdin)
    #[arg(long, value_name = "FILE", help_heading = "Items")]
    pub(super) jsonl: Option<PathBuf>,
    /// Show what items print in the order of items
    #[arg(short, long, help_heading = "Output")]
    pub(super) keep_order: bool,
    /// Begin each line that an item prints with the item and a tab
    #[arg(long, help_heading = "Output")]
    pub(super) tag: bool,
    /// Also write DIR/ITEM/stdout, stderr, exit and seq
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(super) results: Option<PathBuf>,
    /// Also write a line for each item, in the columns of GNU parallel
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) joblog: Option<PathBuf>,
    /// On a terminal, show a line for each running item, too
    #[arg(short, long, help_heading = "Output")]
    pub(super) verbose: bool,
    /// Let the workers of this queue run the jobs [default: this process; on RabbitMQ, those of
    /// `default`]
    #[arg(long, value_name = "NAME", help_heading = "Jobs")]
    pub(super) queue: Option<QueueName>,
    /// Submit jobs of this task instead of commands; behind -- stand its arguments, as JSON with
    /// places in texts; without, each item is its arguments
    #[arg(long, value_name = "NAME", help_heading = "Jobs")]
    pub(super) task: Option<TaskName>,
    /// Where commands run [default: this directory; elsewhere, that of the worker]
    #[arg(long, value_name = "DIR", help_heading = "Jobs")]
    pub(super) cwd: Option<PathBuf>,
    /// The command and its arguments; `::: ITEM …` ends it
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

impl RunArgs {
    /// Where items come from; `words` stood behind `:::`.
    ///
    /// # Errors
    /// When that is said twice.
    pub(super) fn origin(&self, words: Option<Vec<String>>) -> anyhow::Result<Origin> {
        let given = [
            words.is_some().then_some("`:::`"),
            self.files.is_some().then_some("--files"),
            self.input.is_some().then_some("--input"),
            self.csv.is_some().then_some("--csv"),
            self.jsonl.is_some().then_some("--jsonl"),
        ];
        let given: Vec<&str> = given.into_iter().flatten().collect();
        if let [one, other, ..] = given[..] {
            return Err(Exit::usage(format!(
                "items come by {one} or by {other}, not by both"
            )));
        }
        if self.null && !matches!(given[..], [] | ["--input"]) {
            return Err(Exit::usage(format!(
                "-0 is for stdin and --input, not for {}",
                given[0]
            )));
        }
        let end = if self.null { 0 } else { b'\n' };
        let input = |path: &PathBuf| Input::from(path.clone());
        match (words, &self.files, &self.csv, &self.jsonl) {
            (Some(words), ..) => Ok(Origin::Words(words)),
            (_, Some(pattern), ..) => Origin::files(pattern),
            (_, _, Some(path), _) => Ok(Origin::Csv(input(path))),
            (_, _, _, Some(path)) => Ok(Origin::Jsonl(input(path))),
            _ => Ok(Origin::Pieces(
                self.input.as_ref().map_or(Input::Stdin, input),
                end,
            )),
        }
    }
}

/// Divides at `:::`.
pub(super) fn split(mut words: Vec<String>) -> anyhow::Result<(Vec<String>, Option<Vec<String>>)> {
    let Some(at) = words.iter().position(|word| word == ":::") else {
        return Ok((words, None));
    };
    let items: Vec<String> = words.split_off(at).into_iter().skip(1).collect();
    if items.iter().any(|word| word == ":::") {
        return Err(Exit::usage(
            "`:::` may stand once; for combinations, write them out as items",
        ));
    }
    Ok((words, Some(items)))
}
