//! `haul job push`

use std::{io::Read, time::Duration};

use clap::Args;
use haul_common::{
    job::{Json, Spec},
    time::parse_duration,
};
use haul_producer::{
    Backoff, BatchId, JobId, Lane, Producer, QueueName, StateKind, Submission, Submitted, Tag,
    TaskName, Timestamp,
};
use serde::Serialize;

use super::wait;
use crate::{exit::Exit, output, session::Session};

/// The job.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the id, alone. With --wait it prints the same once the job has ended; the exit code tells
how: 0 succeeded, 3 dead or cancelled, 124 not in time (the job goes on).

Durations: 250ms, 30s, 5m, 1h30m. Times: RFC 3339, such as 2027-01-31T09:30:00Z.

Examples:
  haul job push haul.echo --args '{\"hello\": \"world\"}'
  haul job push shell.run --args '{\"script\": \"make test\"}' --queue build --timeout 10m
  haul job push email.send --args @mail.json --lane high --delay 5m --tag eu
  generate | haul job push report.build --args - --wait 1m --json | jq .result")]
pub(crate) struct PushArgs {
    /// The task's name, such as email.send
    task: TaskName,
    /// Its arguments: JSON, @FILE, or - for stdin
    #[arg(
        long,
        value_name = "JSON|@FILE|-",
        default_value = "null",
        allow_hyphen_values = true
    )]
    args: String,
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
    /// Its id; submitted again, it is the same job [default: a new UUIDv7]
    #[arg(long)]
    id: Option<JobId>,
    /// Wait up to this long until it has ended
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
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

/// Submits the job.
///
/// # Errors
/// When an option is wrong, or the job is not accepted.
pub(super) async fn run(session: &Session, args: PushArgs) -> anyhow::Result<()> {
    let body = arguments(&args.args)?;
    let wait = args.wait;
    let producer = session.connect().await?;
    let submission = submission(&producer, args, body);
    let mut answers = producer.submit_all(vec![submission]).await;
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

fn submission(producer: &Producer, args: PushArgs, body: Json) -> Submission {
    let now = producer.backend().store.now();
    let mut spec = Spec::new(args.task, args.queue, body);
    let chosen_id = args.id.is_some();
    if let Some(id) = args.id {
        spec.id = id;
    }
    spec.lane = args.lane;
    spec.max_attempts = args.attempts;
    spec.backoff = args.backoff;
    spec.timeout = args.timeout;
    spec.deadline = args.deadline.map(|moment| match moment {
        Moment::At(time) => time,
        Moment::In(wait) => now + wait,
    });
    spec.retention = args.retention;
    spec.tags = args.tags;
    spec.batch = args.batch;
    let due = args.at.or_else(|| args.delay.map(|wait| now + wait));
    Submission {
        spec,
        due,
        chosen_id,
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
