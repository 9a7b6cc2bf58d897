//! `haul job pull`

mod command;
mod print;

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use clap::{ArgGroup, Args};
use haul_common::{protocol::LEASE_MAX, time::parse_duration};
use haul_producer::QueueName;

use crate::{
    commands::{queue::pause_words, worker::parse_address},
    exit::{Code, Exit},
    session::Session,
};

/// What to take, and for whom.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).args(["print", "command"])))]
#[command(after_help = "\
With -- CMD: runs CMD for each job, with the job's arguments as JSON on its stdin and HAUL_JOB_ID,
HAUL_TASK, HAUL_QUEUE, HAUL_ATTEMPT and HAUL_FENCE in its environment. Exit code 0 succeeds, and
what CMD printed (the last 64 KiB) is the job's result: JSON, or else text. 75 is tried again; 64,
65, 126 and 127 are fatal; all others are tried again as the job says. Heartbeats, time-outs and
cancel are taken care of: CMD gets SIGTERM, and SIGKILL 5 s later. Prints each job's id and what
became of it.

With --print: prints each job as JSON on a line, and ends. Its `lease` is the right to say what
came of it: haul job done|fail|extend ID --lease TOKEN. A lease that runs out gives the job back,
and that attempt is lost.

Ends with 5 if nothing was ready, with 3 if CMD did not succeed for every job.

Examples:
  haul job pull --queue mail -- ./send-mail.py
  haul job pull --queue mail --follow -j4 -- ./send-mail.py
  job=$(haul job pull --queue mail --print --wait 1m)
  haul job done \"$(jq -r .id <<<\"$job\")\" --lease \"$(jq -r .lease <<<\"$job\")\"")]
pub(crate) struct PullArgs {
    /// The queue
    #[arg(long, value_name = "NAME", default_value = "default")]
    queue: QueueName,
    /// Take up to this many of the jobs that are ready [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    max: Option<NonZeroU32>,
    /// Go on taking jobs until told to stop
    #[arg(long, conflicts_with = "print")]
    follow: bool,
    /// Wait up to this long for a job to become ready [default: take what is ready now]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "follow")]
    wait: Option<Duration>,
    /// Run this many at once
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "1",
        conflicts_with = "print"
    )]
    jobs: NonZeroU32,
    /// Answer /metrics (for Prometheus), /livez and /readyz on this address; whoever reaches it may
    /// ask [default: nowhere]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address, requires = "follow")]
    listen: Option<SocketAddr>,
    /// Print jobs with a lease each, instead of running a command
    #[arg(long)]
    print: bool,
    /// When a printed job is given back unless it was settled or extended, up to 24h
    #[arg(long, value_name = "DURATION", value_parser = lease, default_value = "5m", conflicts_with = "command")]
    lease: Duration,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Reads how long a lease is.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    let lease = parse_duration(text).map_err(|error| error.to_string())?;
    if lease < Duration::from_secs(1) || lease > LEASE_MAX {
        return Err("a lease is 1s to 24h long; extend it as often as needed".to_owned());
    }
    Ok(lease)
}

/// Takes jobs.
///
/// # Errors
/// When none was ready, one did not succeed, or a backend is away.
pub(super) async fn run(session: &Session, args: PullArgs) -> anyhow::Result<()> {
    if args.print {
        print::run(session, &args).await
    } else {
        command::run(session, args).await
    }
}

/// Says that there was no job, and if that is because the queue is paused.
async fn nothing(session: &Session, args: &PullArgs) -> anyhow::Error {
    let queue = &args.queue;
    let text = match paused(session, queue).await {
        Ok(Some(words)) => format!("queue `{queue}` is paused {words}; nothing is handed out"),
        Ok(None) => format!("no job of queue `{queue}` is ready"),
        Err(error) => return error,
    };
    Exit::with(Code::NotFound, text)
}

/// In words, if the queue is paused.
async fn paused(session: &Session, queue: &QueueName) -> anyhow::Result<Option<String>> {
    let producer = session.connect().await?;
    let pauses = producer.pauses().await?;
    let now = producer.backend().store.now();
    Ok(pauses.get(queue).map(|pause| pause_words(pause, now)))
}
