//! `shell.run`: runs a program.
//!
//! Exit 0 succeeds; 75 retries; 64, 65, 126 and 127 are fatal (wrong usage, wrong data, not
//! executable, not found: no retry helps); all others retry by the job's policy. These are the
//! codes of `sysexits.h` and of POSIX shells. Told to stop, its process group gets SIGTERM, and
//! SIGKILL after [`KILL_AFTER`].

mod child;
mod exit;
mod tail;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use haul_common::job::{Failure, Task};
use serde::{Deserialize, Serialize};

use crate::Context;
use child::Child;
pub use exit::Exit;

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
    exit.verdict(&child.stderr())?;
    Ok(child.output(0))
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
