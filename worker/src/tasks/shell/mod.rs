//! `shell.run`: runs a program.
//!
//! Exit 0 succeeds; 75 retries; 64, 65, 126 and 127 are fatal (wrong usage, wrong data, not
//! executable, not found: no retry helps); all others retry by the job's policy. These are the
//! codes of `sysexits.h` and of POSIX shells. Told to stop, its process group gets SIGTERM, and
//! SIGKILL after [`KILL_AFTER`].

mod child;
mod tail;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use haul_common::job::{Failure, Json, Task};
use serde::{Deserialize, Serialize};

use crate::Context;
use child::{Child, Exit};

/// Between SIGTERM and SIGKILL.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// What to run: `command` or `script`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShellRun {
    /// A program and its arguments, run as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Text for `/bin/sh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What it reads on stdin; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Added to the worker's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; where the worker does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
}

impl Task for ShellRun {
    const NAME: &'static str = "shell.run";
    type Output = ShellOutput;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellOutput {
    /// Always 0: others are failures.
    pub exit_code: i32,
    /// The tail of what it wrote, at most 64 KiB.
    pub stdout: String,
    /// The tail of what it complained of, at most 16 KiB.
    pub stderr: String,
}

/// Runs this program for a job of whatever task, with the job's arguments on its stdin, and its exit
/// code decides as that of `shell.run` does.
///
/// # Errors
/// As its exit code says.
pub async fn program(
    ctx: Context<()>,
    command: Vec<String>,
    args: &Json,
) -> Result<ShellOutput, Failure> {
    let env = [("HAUL_TASK", &**ctx.task()), ("HAUL_QUEUE", &**ctx.queue())];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let stdin = Some(args.get().to_owned());
    let args = ShellRun {
        command: Some(command),
        stdin,
        env: BTreeMap::from(env),
        ..ShellRun::default()
    };
    run(ctx, args).await
}

pub(super) async fn run(ctx: Context<()>, args: ShellRun) -> Result<ShellOutput, Failure> {
    let argv = argv(&args)?;
    let mut child = Child::start(&ctx, &argv, &args)?;
    let exit = tokio::select! {
        exit = child.finished() => exit?,
        cause = ctx.stopped() => {
            child.stop().await;
            return Err(Failure::retry(format!("stopped: {cause:?}")));
        }
    };
    match exit {
        Exit::Code(0) => Ok(child.output(0)),
        Exit::Code(code @ (64 | 65 | 126 | 127)) => Err(Failure::fatal(child.complaint(code))),
        Exit::Code(code) => Err(Failure::retry(child.complaint(code))),
        Exit::Signal(signal) => Err(Failure::retry(format!("killed by signal {signal}"))),
    }
}

fn argv(args: &ShellRun) -> Result<Vec<String>, Failure> {
    match (&args.command, &args.script) {
        (Some(command), None) if !command.is_empty() => Ok(command.clone()),
        (None, Some(script)) => Ok(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
        _ => Err(Failure::fatal(
            "give either `command`, a list that begins with a program, or `script`",
        )),
    }
}
