//! `shell.run`: runs a program; `script.run`: runs a script that is stored by name.
//!
//! What the end of a program means is the exit protocol of [`Exit::verdict`]. Told to stop, all that
//! it started gets SIGTERM, and SIGKILL after [`KILL_AFTER`]; so does what is left when the worker
//! itself dies. What may run at all, as whom and with what, is [`ShellRules`]. `HAUL_CHECKPOINT`
//! names a file whose content comes back at the next attempt. The lines `::progress 3/10 message`
//! and `::result {json}` on stdout are for Haul, and taken out of the output.

mod checkpoint;
mod child;
#[cfg(feature = "faults")]
pub mod door;
mod exit;
mod failed;
mod ground;
mod limits;
mod programs;
mod rules;
mod said;
mod script;
mod sweep;
mod tail;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use haul_common::job::{Failure, Json, ScriptVersion, Task};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::{
    checkpoint::Checkpoint,
    child::{Child, Launch},
    ground::{Entry, Ground},
};
pub use self::{
    exit::Exit,
    failed::{FailedOutput, OUTPUT_STEP},
    limits::Limits,
    rules::{RulesError, ShellRules},
    script::ScriptRun,
};
pub(super) use script::run as run_script;

use crate::{Context, StopCause};

/// Between SIGTERM and SIGKILL.
pub const KILL_AFTER: Duration = Duration::from_secs(5);
/// The same where the worker stops, which leaves time to save the checkpoint.
const KILL_AFTER_STOPPING: Duration = Duration::from_secs(3);
/// Between looks at a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

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
    /// Added to what it sees of the worker's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; where the worker does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// What it may use up; the worker's own limits hold too.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// Keep what a failed attempt printed, too: as step [`OUTPUT_STEP`], a [`FailedOutput`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_output: bool,
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
    /// What it said in its last `::result` line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Which version of a stored script it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_version: Option<ScriptVersion>,
}

/// What the shell jobs of a worker share.
#[derive(Debug)]
pub struct Runner {
    rules: ShellRules,
    /// What jobs see of the worker's environment; nothing means all of it.
    environment: Option<Vec<(OsString, OsString)>>,
    /// Made with the first job.
    ground: OnceCell<Arc<Ground>>,
}

impl Runner {
    /// What jobs see of the worker's environment is by these rules, or else by whether it is
    /// `embedded`: then all of it.
    pub fn new(rules: ShellRules, embedded: bool) -> Self {
        Self {
            environment: rules.environment(embedded),
            rules,
            ground: OnceCell::new(),
        }
    }

    async fn enter(&self) -> Result<Entry, Failure> {
        let make = async || Ground::new(self.rules.user.as_ref());
        let entry = async { self.ground.get_or_try_init(make).await?.enter() };
        entry.await.map_err(|error: std::io::Error| {
            Failure::retry(format!(
                "this worker has no room for a job's files: {error}"
            ))
        })
    }

    fn check_env(&self, env: &BTreeMap<String, String>) -> Result<(), Failure> {
        match env.keys().find(|name| !self.rules.may_set(name)) {
            Some(name) => Err(Failure::fatal(format!(
                "a job may not set `{name}` on this worker; it can be allowed there with job_env \
                 in haul.toml, section [shell]"
            ))),
            None => Ok(()),
        }
    }
}

/// Runs this program for a job of whatever task, with the job's arguments on its stdin, and its exit
/// code decides as that of `shell.run` does.
///
/// # Errors
/// As its exit code says.
pub async fn program(
    ctx: Context<Runner>,
    command: Vec<String>,
    args: &Json,
) -> Result<ShellOutput, Failure> {
    let env = [("HAUL_TASK", &**ctx.task()), ("HAUL_QUEUE", &**ctx.queue())];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let args = ShellRun {
        command: Some(command),
        stdin: Some(args.get().to_owned()),
        env: BTreeMap::from(env),
        ..ShellRun::default()
    };
    run(ctx, args).await
}

pub(super) async fn run(ctx: Context<Runner>, args: ShellRun) -> Result<ShellOutput, Failure> {
    let rules = &ctx.state().rules;
    let (program, rest) = match (args.command, args.script) {
        (Some(command), None) if !command.is_empty() => {
            let program = rules.programs.resolve(&command[0])?;
            (
                program,
                command.into_iter().skip(1).map(Into::into).collect(),
            )
        }
        (None, Some(script)) => {
            rules.programs.any("a `script`")?;
            ("/bin/sh".into(), vec!["-c".into(), script.into()])
        }
        _ => {
            return Err(Failure::fatal(
                "give either `command`, a list that begins with a program, or `script`",
            ));
        }
    };
    ctx.state().check_env(&args.env)?;
    let launch = Launch {
        program,
        args: rest,
        env: args.env,
        cwd: args.cwd,
        stdin: args.stdin,
        limits: args.limits.and(rules.limits),
    };
    let entry = ctx.state().enter().await?;
    attempt(&ctx, launch, entry, args.keep_output).await
}

/// From start to end, with the checkpoint before, meanwhile and after.
async fn attempt(
    ctx: &Context<Runner>,
    launch: Launch,
    entry: Entry,
    keep_output: bool,
) -> Result<ShellOutput, Failure> {
    let user = ctx.state().rules.user.as_ref();
    let mut checkpoint = Checkpoint::restore(ctx, entry.checkpoint(), user).await?;
    let mut child = Child::start(ctx, launch, entry)?;
    match follow(ctx, &mut child, &mut checkpoint, keep_output).await {
        Ok(output) => Ok(output),
        Err(failure) => Err(checkpoint.settle(ctx, failure).await),
    }
}

async fn follow(
    ctx: &Context<Runner>,
    child: &mut Child,
    checkpoint: &mut Checkpoint,
    keep_output: bool,
) -> Result<ShellOutput, Failure> {
    let flooded = child.flooded();
    loop {
        tokio::select! {
            status = child.ended() => {
                let exit = child.finish(status?).await;
                if keep_output {
                    failed::keep(ctx, child, exit).await;
                }
                exit.verdict(&child.stderr())?;
                return child.output();
            }
            cause = ctx.stopped() => {
                let patience = match cause {
                    StopCause::Stopping => KILL_AFTER_STOPPING,
                    _ => KILL_AFTER,
                };
                child.stop(patience).await;
                return Err(Failure::retry(format!("stopped: {cause:?}")));
            }
            () = flooded.cancelled() => {
                child.stop(KILL_AFTER).await;
                return Err(Failure::retry("stopped: it wrote more output than its limit"));
            }
            () = tokio::time::sleep(CHECKPOINT_EVERY) => checkpoint.look(ctx).await,
        }
    }
}
