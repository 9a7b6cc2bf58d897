//! `haul job push`: one job, or a job for each row of a file.
//!
//! [`rows`] reads a file, [`plan`] makes a job of a row, with places of a [`template`] filled;
//! [`many`] looks at all of them, then submits them.

mod door;
mod many;
mod plan;
mod rows;
mod template;

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgGroup, Args};
use haul_common::{job::Json, time::parse_duration};
use haul_producer::{
    Backoff, BatchId, JobId, Lane, QueueName, StateKind, Submission, Submitted, Tag, TaskName,
    Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::door::{Row, rows};
use self::{many::Input, plan::Plan, rows::Format};
use super::wait;
use crate::{
    exit::Exit,
    output,
    session::Session,
    settings::{Settings, env},
};

/// The job.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("file").args(["jsonl", "csv"])))]
#[command(after_help = "\
Prints the id, alone. With --wait it prints the same once the job has ended; the exit code tells
how: 0 succeeded, 3 dead or cancelled, 124 not in time (the job goes on).

With --jsonl or --csv: a job for each row, whose arguments are the row, or --args with {name} in its
texts replaced by a field ({name:json}: by what its text says as JSON). All rows are looked at
before the first job is submitted; if one is wrong, all that is wrong is told by line and field, and
nothing is submitted (exit code 1). Prints the batch that all of them belong to. With --id, the
same file can be pushed again: what is there already is not submitted twice.

Durations: 250ms, 30s, 1h30m, 7d. Times: RFC 3339, such as 2027-01-31T09:30:00Z.

Examples:
  haul job push haul.echo --args '{\"hello\": \"world\"}'
  haul job push shell.run --args '{\"script\": \"make test\"}' --queue build --timeout 10m
  haul job push email.send --args @mail.json --lane high --delay 5m --tag eu
  generate | haul job push report.build --args - --wait 1m --json | jq .result
  haul job push email.send --csv users.csv --args '{\"to\": \"{email}\"}' --id 'welcome-{id}' --dry-run
  haul job push --jsonl jobs.jsonl --envelope   # {\"task\": \"email.send\", \"args\": {}, \"lane\": \"low\"}")]
pub(crate) struct PushArgs {
    /// The task's name, such as email.send
    #[arg(required_unless_present = "envelope")]
    task: Option<TaskName>,
    /// Its arguments: JSON, @FILE, or - for stdin [default: null, or the row]
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    args: Option<String>,
    /// Submit a job for each line of this file, a JSON object; - for stdin
    #[arg(long, value_name = "FILE|-", conflicts_with = "wait")]
    jsonl: Option<PathBuf>,
    /// Submit a job for each record of this file, whose first line names the columns; - for stdin
    #[arg(long, value_name = "FILE|-", conflicts_with = "wait")]
    csv: Option<PathBuf>,
    /// The lines are whole jobs: task, args, queue, lane, id, delay, at, attempts, backoff, timeout,
    /// deadline, retention, tags, batch, each as its flag; what a line leaves out, flags say
    #[arg(long, requires = "jsonl", conflicts_with_all = ["args", "id"])]
    envelope: bool,
    /// Only look at the rows, and list all that is wrong
    #[arg(long, requires = "file")]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
    /// Its id; submitted again, it is the same job. For rows with the places of fields, such as
    /// 'user-{id}' [default: a new UUIDv7]
    #[arg(long)]
    id: Option<String>,
    /// Wait up to this long until it has ended
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
}

/// What jobs of one push have in common.
#[derive(Debug, Clone, Args)]
struct Common {
    /// The queue
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
    /// Its priority: critical, high, normal or low
    #[arg(long, default_value = "normal")]
    lane: Lane,
    /// Start after this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// Start at this time
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How many attempts it gets in all
    #[arg(long, value_name = "N", default_value_t = 5)]
    attempts: u32,
    /// How long to wait between attempts: exponential(1s,2,1h) (first, factor, cap), fixed(30s),
    /// list(1s,10s,5m) or none
    #[arg(long, default_value = "exponential(1s,2,1h)")]
    backoff: Backoff,
    /// How long one attempt may take [default: as long as it likes]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// When the whole job is given up: a time, or a duration from now
    #[arg(long, value_name = "TIME|DURATION")]
    deadline: Option<Moment>,
    /// How long its record is kept once it ended [default: 24h, 7d when dead]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    retention: Option<Duration>,
    /// A word to find it by; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// The jobs it belongs with
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
}

/// A time, or so long from now.
#[derive(Debug, Clone, Copy)]
enum Moment {
    At(Timestamp),
    In(Duration),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        parse_duration(text).map(Self::In).map_err(|_| {
            "write a time such as 2027-01-31T09:30:00Z, or a duration such as 30m".to_owned()
        })
    }
}

/// What became of it, as JSON.
#[derive(Debug, Serialize)]
struct PushView<'a> {
    id: &'a JobId,
    existing: Option<StateKind>,
}

/// A fleet's workers do not tell their jobs where it is: what such a job submits would go to a new
/// file that nobody reads.
fn refuse_nowhere(settings: &Settings) -> anyhow::Result<()> {
    let is_new = settings.file().is_some_and(|file| !file.exists());
    match env("HAUL_JOB_ID") {
        Some(id) if is_new && !settings.is_told => Err(Exit::usage(format!(
            "this runs within job {id}, which is not told where jobs are, and there is no file of \
             jobs here: give --broker and --store, or --config FILE"
        ))),
        _ => Ok(()),
    }
}

/// Submits the job, or one for each row.
///
/// # Errors
/// When an option or a row is wrong, or a job is not accepted.
pub(super) async fn run(session: &Session, args: PushArgs) -> anyhow::Result<()> {
    refuse_nowhere(&session.settings)?;
    let body = args.args.as_deref().map(arguments).transpose()?;
    let (path, format) = match (args.jsonl, args.csv) {
        (Some(path), _) => (path, Format::Jsonl),
        (None, Some(path)) => (path, Format::Csv),
        (None, None) => {
            let id = args.id.map(|id| id.parse()).transpose()?;
            let task = args.task.ok_or_else(|| Exit::usage("which task?"))?;
            let now = Timestamp::now();
            let body = body.unwrap_or_else(|| RawValue::NULL.to_owned());
            let job = args.common.submission(task, body, id, now);
            return one(session, job, args.wait).await;
        }
    };
    if args.args.as_deref() == Some("-") && path == Path::new("-") {
        return Err(Exit::usage(
            "--args and the rows cannot both come from stdin",
        ));
    }
    let plan = match args.task {
        Some(task) if !args.envelope => Plan::args(args.common, task, body, args.id.as_deref())?,
        task => Plan::envelopes(args.common, task),
    };
    let input = Input {
        path,
        format,
        dry_run: args.dry_run,
    };
    many::run(session, plan, &input).await
}

async fn one(session: &Session, job: Submission, wait: Option<Duration>) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let mut answers = producer.submit_all(vec![job]).await;
    let Some(answer) = answers.pop() else {
        anyhow::bail!("no answer came for the job; submit it again with the same --id");
    };
    let Submitted { id, existing } = answer?;
    if let Some(state) = existing {
        session.say(format!(
            "haul: job {id} was submitted before and is {state}"
        ));
    }
    match wait {
        Some(limit) => {
            if !session.json {
                output::line(&id)?;
            }
            wait::for_pushed(session, &producer, &id, limit).await
        }
        None if session.json => output::json(&PushView { id: &id, existing }),
        None => output::line(&id),
    }
}

/// Reads the arguments from where they are, and checks that they are JSON.
pub(super) fn arguments(given: &str) -> anyhow::Result<Json> {
    let (text, place) = if given == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Exit::usage(format!("cannot read --args from stdin: {error}")))?;
        (text, "stdin".to_owned())
    } else if let Some(path) = given.strip_prefix('@') {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Exit::usage(format!("cannot read --args from {path}: {error}")))?;
        (text, path.to_owned())
    } else {
        (given.to_owned(), "--args".to_owned())
    };
    serde_json::from_str::<Json>(text.trim_end()).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let position = format!(" at line {line} column {column}");
        let what = error.to_string().replace(&position, "");
        Exit::usage(format!(
            "the arguments in {place} are not JSON: line {line}, column {column}: {what}\n      \
             write for example --args '{{\"name\": \"you\"}}', or --args @file.json"
        ))
    })
}
