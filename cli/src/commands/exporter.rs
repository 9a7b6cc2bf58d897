//! `haul exporter`

use std::{net::SocketAddr, str::FromStr, time::Duration};

use clap::Args;
use haul_common::time::parse_duration;
use haul_producer::QueueName;

use super::worker::{listen, parse_address};
use crate::{
    exit::Exit,
    exporter::{self, Objectives, Plan},
    session::Session,
    settings::ExporterFile,
};

/// What to export.
#[derive(Debug, Args)]
#[command(after_help = "\
One of these for each fleet: it exports what is true of the whole of it (jobs by queue and state, the
oldest job's age, workers), while each worker exports what it does itself (haul worker --listen).
It asks store and broker at an interval, not at each scrape: how much depends on the number of
queues, never on how many jobs wait.

Settings of the file haul.toml, section [exporter]: listen, interval, objective, objectives, canary,
canary_every.

Examples:
  haul exporter
  haul exporter --objective 2m --objective mail=30s --canary default
  haul exporter --once | grep oldest")]
pub(crate) struct ExporterArgs {
    /// Answer /metrics, /livez and /readyz on this address; whoever reaches it may ask [env:
    /// HAUL_LISTEN] [default: 127.0.0.1:9465]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// How often to ask store and broker [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    interval: Option<Duration>,
    /// For how long a job should wait at most, of this queue or of all others; may be given several
    /// times [default: 5m]
    #[arg(long = "objective", value_name = "[QUEUE=]DURATION")]
    objectives: Vec<Objective>,
    /// Send a tiny job through this queue now and then, and time it; a worker with haul.echo must
    /// take from it; may be given several times
    #[arg(long = "canary", value_name = "QUEUE")]
    canaries: Vec<QueueName>,
    /// How often [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    canary_every: Option<Duration>,
    /// Look once, print the metrics, and end
    #[arg(long)]
    once: bool,
}

/// For how long a job of a queue, or of all others, should wait at most.
#[derive(Debug, Clone)]
struct Objective(Option<QueueName>, Duration);

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (queue, wait) = match text.split_once('=') {
            Some((queue, wait)) => (Some(queue), wait),
            None => (None, text),
        };
        let queue = queue.map(str::parse).transpose();
        let queue = queue.map_err(|error: haul_common::job::NameError| error.to_string())?;
        let wait = parse_duration(wait).map_err(|error| error.to_string())?;
        Ok(Self(queue, wait))
    }
}

/// Exports until told to stop.
///
/// # Errors
/// When an option is wrong, the address is taken, or the backend cannot be used.
pub(crate) async fn run(session: &Session, args: ExporterArgs) -> anyhow::Result<()> {
    let file = &session.settings.exporter;
    let plan = Plan {
        objectives: objectives(&args, file)?,
        every: pause(args.interval, file.interval.as_ref(), "interval", "15s")?,
        canaries: canaries(&args, file)?,
        canary_every: pause(
            args.canary_every,
            file.canary_every.as_ref(),
            "canary_every",
            "1m",
        )?,
    };
    if args.once {
        return exporter::once(session, plan).await;
    }
    let at = listen(session, args.listen, file.listen.as_ref(), "exporter")?;
    exporter::run(session, plan, at.unwrap_or(exporter::ADDRESS)).await
}

fn objectives(args: &ExporterArgs, file: &ExporterFile) -> anyhow::Result<Objectives> {
    let mut objectives = Objectives::default();
    if let Some(text) = &file.objective {
        objectives.others = parse_duration(text).map_err(|why| in_file("objective", &why))?;
    }
    for (queue, text) in &file.objectives {
        let queue: QueueName = queue.parse().map_err(|why| in_file("objectives", &why))?;
        let wait = parse_duration(text).map_err(|why| in_file("objectives", &why))?;
        objectives.queues.insert(queue, wait);
    }
    for Objective(queue, wait) in args.objectives.clone() {
        match queue {
            Some(queue) => drop(objectives.queues.insert(queue, wait)),
            None => objectives.others = wait,
        }
    }
    Ok(objectives)
}

/// For how long a job of the queue should wait at most, by the settings' file; nothing where that does
/// not say.
///
/// # Errors
/// When the file is wrong there.
pub(crate) fn objective(
    file: &ExporterFile,
    queue: &QueueName,
) -> anyhow::Result<Option<Duration>> {
    let text = file.objectives.get(&**queue).or(file.objective.as_ref());
    let read = |text: &String| parse_duration(text).map_err(|why| in_file("objective", &why));
    text.map(read).transpose()
}

fn canaries(args: &ExporterArgs, file: &ExporterFile) -> anyhow::Result<Vec<QueueName>> {
    if !args.canaries.is_empty() {
        return Ok(args.canaries.clone());
    }
    let names = file.canary.iter();
    names
        .map(|name| name.parse().map_err(|why| in_file("canary", &why)))
        .collect()
}

/// A second at least: more often is a load, and shows nothing more.
fn pause(
    flag: Option<Duration>,
    file: Option<&String>,
    key: &str,
    standard: &str,
) -> anyhow::Result<Duration> {
    let text = file.map_or(standard, String::as_str);
    let pause = match flag {
        Some(pause) => pause,
        None => parse_duration(text).map_err(|why| in_file(key, &why))?,
    };
    if pause < Duration::from_secs(1) {
        let flag = key.replace('_', "-");
        return Err(Exit::usage(format!("--{flag} must be 1s or longer")));
    }
    Ok(pause)
}

fn in_file(key: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Exit::usage(format!("the settings' file, [exporter] {key}: {why}"))
}
