//! The commands, one file for each: parse, call, print.

pub(crate) mod batch;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod exporter;
pub(crate) mod health;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod script;
mod watch;
pub(crate) mod worker;

use std::num::NonZero;

use tokio::runtime::Builder;

use crate::{
    args::{Cli, Command},
    bench::BenchArgs,
    log,
    session::Session,
};

/// Carries out what the command line says.
///
/// # Errors
/// Every error ends the process with a code of its own: see [`crate::exit`].
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    // The other half of the cores is for a worker's own threads, or for the servers: threads that
    // wait for a core cost switches.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .enable_all()
        .build()?;
    runtime.block_on(carry_out(cli))
}

async fn carry_out(cli: Cli) -> anyhow::Result<()> {
    if let Command::Completions(args) = cli.command {
        return completions::run(&args);
    }
    let session = Session::new(&cli.global)?;
    let is_worker = matches!(cli.command, Command::Worker(_));
    let standard = match (cli.global.quiet, is_worker) {
        (true, _) => "error",
        (false, true) => "info",
        (false, false) => "warn",
    };
    let level = session.settings.log.as_deref().unwrap_or(standard);
    let is_long = is_worker || matches!(cli.command, Command::Exporter(_));
    let traces = log::start(level, session.settings.log_format, is_long)?;
    let result = dispatch(&session, cli.command).await;
    session.close().await;
    traces.finish();
    result
}

async fn dispatch(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(session, args).await,
        Command::Worker(args) => worker::run(session, args).await,
        Command::Job(command) => job::run(session, command).await,
        Command::Batch(command) => batch::run(session, command).await,
        Command::Queue(command) => queue::run(session, command).await,
        Command::Script(command) => script::run(session, command).await,
        Command::Exporter(args) => exporter::run(session, args).await,
        Command::Doctor(args) => doctor::run(session, args).await,
        Command::Health(args) => health::run(session, &args).await,
        Command::Bench(args) => bench(session, &args).await,
        Command::Schema(args) => schema::run(session, &args),
        Command::Completions(args) => completions::run(&args),
    }
}

async fn bench(session: &Session, args: &BenchArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let urls = session.settings.urls.clone();
    crate::bench::run(args, producer.backend().clone(), urls).await
}
