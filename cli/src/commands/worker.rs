//! `haul worker`

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use clap::Args;
use haul_common::time::parse_duration;
use haul_producer::QueueName;
use haul_worker::Worker;

use tokio::sync::watch;

use crate::{
    callbacks::{self, HttpFlags},
    exit::Exit,
    log::Format,
    session::Session,
    shell::Asked,
    systemd,
};

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM or Ctrl-C drains: nothing new starts, and what runs may finish within the grace. A second
one stops at once; what ran is given back and runs again elsewhere. Under systemd (Type=notify) it
says when it is ready and stops, and feeds the watchdog as long as its loops turn.

Settings of the file haul.toml, section [worker]: queues, grace, allow_shell, strict_lanes, listen;
section [shell], for what jobs run: programs, scripts, env, job_env, user, memory, cpu, open_files, output;
section [http]: allow, sign_key_files, ca_file, cert_file, key_file.

Examples:
  haul worker
  haul worker --queue mail=8 --queue reports=2 --grace 2m
  haul worker --listen 127.0.0.1:9464
  haul worker --broker amqp://localhost --store redis://localhost --queue build --allow-shell
  haul worker --queue media --allow-program ffmpeg --allow-program /opt/bin/resize")]
pub(crate) struct WorkerArgs {
    /// Run jobs of this queue, so many at once; may be given several times [default: `default`,
    /// with 2 slots for each core]
    #[arg(long = "queue", value_name = "NAME[=SLOTS]")]
    queues: Vec<QueueSlots>,
    /// Run shell.run jobs, that is any command that a submitter names [default: only when
    /// embedded in a SQLite file]
    #[arg(long)]
    allow_shell: bool,
    /// Run shell.run jobs, but only those of this program: a whole path, or a name in this
    /// worker's PATH; may be given several times. What runs other programs (sh, env, python, …)
    /// must be said twice
    #[arg(
        long = "allow-program",
        value_name = "NAME",
        conflicts_with = "allow_shell"
    )]
    programs: Vec<String>,
    /// Run script.run jobs: scripts that were stored with `haul script add` [default: only when
    /// embedded in a SQLite file]
    #[arg(long)]
    allow_scripts: bool,
    /// Start a lower lane only when the higher ones are empty, instead of by turns (8:4:2:1)
    #[arg(long)]
    strict_lanes: bool,
    /// How long a drain waits for what runs, such as 30s or 5m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace: Option<Duration>,
    /// Answer /metrics (for Prometheus), /livez and /readyz on this address; whoever reaches it may
    /// ask [env: HAUL_LISTEN] [default: nowhere]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    http: HttpFlags,
}

/// A queue, and how many of its jobs run at once.
#[derive(Debug, Clone)]
struct QueueSlots(QueueName, Option<NonZeroU32>);

impl FromStr for QueueSlots {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, slots) = match text.split_once('=') {
            Some((name, slots)) => {
                let wrong = |_| format!("`{slots}` is not a number of slots; write NAME=8");
                (name, Some(slots.parse().map_err(wrong)?))
            }
            None => (text, None),
        };
        Ok(Self(
            name.parse().map_err(|error| format!("{error}"))?,
            slots,
        ))
    }
}

/// Runs jobs until told to stop.
///
/// # Errors
/// When an option is wrong, or the backend cannot be used.
pub(crate) async fn run(session: &Session, args: WorkerArgs) -> anyhow::Result<()> {
    let file = &session.settings.worker;
    let mut queues = args.queues;
    if queues.is_empty() {
        let read = |text: &String| text.parse().map_err(|why| in_file("queues", &why));
        queues = file
            .queues
            .iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?;
    }
    if queues.is_empty() {
        queues.push(QueueSlots(QueueName::default_queue(), None));
    }
    let grace = match (args.grace, &file.grace) {
        (Some(grace), _) => Some(grace),
        (None, Some(text)) => Some(parse_duration(text).map_err(|why| in_file("grace", &why))?),
        (None, None) => None,
    };
    let rules = session.settings.shell.rules(Asked {
        any: args.allow_shell,
        programs: args.programs,
        scripts: args.allow_scripts,
        embedded: session.settings.is_embedded(),
        file_any: file.allow_shell,
    })?;
    let http = callbacks::settle(&session.settings, args.http)?;
    let mut worker = Worker::connect(session.settings.urls.clone())
        .await?
        .builtins(rules)
        .http(http);
    let standard = 2 * u32::try_from(cores()).unwrap_or(1);
    for QueueSlots(name, slots) in &queues {
        worker = worker.queue(&**name, slots.map_or(standard, NonZeroU32::get));
    }
    if let Some(grace) = grace {
        worker = worker.grace(grace);
    }
    if let Some(at) = listen(session, args.listen, file.listen.as_ref(), "worker")? {
        worker = worker.listen(at);
    }
    if args.strict_lanes || file.strict_lanes.unwrap_or(false) {
        worker = worker.strict_lanes();
    }
    serve(session, worker, &queues).await
}

async fn serve(session: &Session, worker: Worker<()>, queues: &[QueueSlots]) -> anyhow::Result<()> {
    let running = worker.start().await?;
    running.stop_on_signals();
    if let Some(at) = running.listening() {
        session.say(format!("haul: metrics on http://{at}/metrics"));
    }
    let names: Vec<&str> = queues.iter().map(|QueueSlots(name, _)| &**name).collect();
    let consuming = format!("consuming from {}", names.join(", "));
    let liveness = running.liveness();
    systemd::keep_watchdog(liveness.clone());
    let announce = announce(session, running.readiness(), &consuming);
    let until_stop = async {
        tokio::select! {
            () = announce => {}
            () = liveness.stopping() => systemd::tell_stopping(),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = running.finished() => result?,
        () = until_stop => {}
    }
    Ok(())
}

/// Where to answer monitors: by flag, environment or file.
///
/// # Errors
/// When it is no address.
pub(crate) fn listen(
    session: &Session,
    flag: Option<SocketAddr>,
    file: Option<&String>,
    section: &str,
) -> anyhow::Result<Option<SocketAddr>> {
    if flag.is_some() {
        return Ok(flag);
    }
    let read = |text: &String, place: &str| {
        parse_address(text).map_err(|why| Exit::usage(format!("{place}: {why}")))
    };
    if let Some(text) = &session.settings.listen {
        return read(text, "HAUL_LISTEN").map(Some);
    }
    let place = format!("the settings' file, [{section}] listen");
    file.map(|text| read(text, &place)).transpose()
}

/// Reads an address to listen on.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| {
        format!(
            "`{}` is not an address to listen on; write IP:PORT, such as 127.0.0.1:9464, or \
             0.0.0.0:9464 for every network of this machine",
            text.chars().take(80).collect::<String>()
        )
    };
    text.parse().map_err(wrong)
}

/// Says once that it is ready, to people, and at every change how it is, to systemd.
async fn announce(session: &Session, mut readiness: watch::Receiver<bool>, consuming: &str) {
    let mut first = true;
    while readiness.wait_for(|ready| *ready).await.is_ok() {
        // The log has it too, in its own format.
        if std::mem::take(&mut first) && session.settings.log_format == Format::Text {
            session.say(format!("haul: ready, {consuming}"));
        }
        systemd::tell_ready(consuming);
        if readiness.wait_for(|ready| !ready).await.is_ok() {
            systemd::tell_unready();
        }
    }
    std::future::pending::<()>().await;
}

fn in_file(key: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Exit::usage(format!("the settings' file, [worker] {key}: {why}"))
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
