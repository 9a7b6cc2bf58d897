//! Every command, and the flags that all of them share.

use clap::{Args, Parser, Subcommand};

use crate::{commands, log::Format};

/// Work queues in one binary: embedded in one SQLite file, or a fleet on RabbitMQ and Redis.
#[derive(Debug, Parser)]
#[command(name = "haul", version, max_term_width = 100, after_help = EXAMPLES)]
#[command(
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Shared by every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  haul run -j4 -- sha256sum {} ::: a.txt b.txt      run a command for each item, now
  haul worker --queue mail=8                        run jobs until told to stop
  haul job push haul.echo --args '{\"hello\":1}'      submit a job; prints its id
  haul job list state:dead 'age:<1h'                what died in the last hour

TLS: amqps://… and rediss://… take, in PEM files, who may vouch for the server (else whoever this
machine trusts), and who we are:
  ?cacertfile=PATH&certfile=PATH&keyfile=PATH

Exit codes:
  0 done   1 failed   2 usage   3 a job that was waited for ended dead or cancelled
  4 not authorised   5 not found   6 conflict   69 backend unreachable   124 time-out
  130 interrupted   143 terminated";

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where jobs are: sqlite:PATH, amqp://… or amqps://… [env: HAUL_BROKER, or
    /// HAUL_BROKER_FILE for a file with the URL in it] [default: sqlite:haul.db]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// Where records are: redis://…, rediss://… or sqlite:PATH; a SQLite broker is its own store
    /// [env: HAUL_STORE, or HAUL_STORE_FILE]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// What every name on a shared broker and store begins with [env: HAUL_NAMESPACE] [default:
    /// haul]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Read settings from this file [env: HAUL_CONFIG] [default: haul.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<std::path::PathBuf>,
    /// Print JSON: one object, or one object per line for lists
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log this much to stderr: error, warn, info, debug, trace, or directives such as
    /// haul_worker=debug [env: HAUL_LOG] [default: info for a worker, else warn; error with --quiet]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Write the log as text or as json, one object for each line [env: HAUL_LOG_FORMAT] [default:
    /// text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<Format>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command for each of many items, in the foreground
    Run(commands::run::RunArgs),
    /// Run jobs until told to stop
    Worker(commands::worker::WorkerArgs),
    /// Submit, look at, wait for, cancel and retry jobs
    #[command(subcommand)]
    Job(commands::job::JobCommand),
    /// Look at batches: jobs that belong together
    #[command(subcommand)]
    Batch(commands::batch::BatchCommand),
    /// Look at queues
    #[command(subcommand)]
    Queue(commands::queue::QueueCommand),
    /// Store scripts by name, for jobs that only carry the name
    #[command(subcommand)]
    Script(commands::script::ScriptCommand),
    /// Export figures of the whole fleet to Prometheus
    Exporter(commands::exporter::ExporterArgs),
    /// Check broker, store and workers, and say what to do
    Doctor(commands::doctor::DoctorArgs),
    /// Ask a worker on this machine how it is, as a health check does
    Health(commands::health::HealthArgs),
    /// Measure what this broker and store do, on this machine, now
    Bench(crate::bench::BenchArgs),
    /// Print the message contract for clients in other languages
    Schema(commands::schema::SchemaArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
}
