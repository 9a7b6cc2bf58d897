//! A program with a process group of its own, of which nothing is left behind.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use haul_common::job::Failure;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Exit, Runner, ShellOutput,
    ground::Entry,
    limits::Limits,
    said::Said,
    sweep,
    tail::{Meter, Tail},
};
use crate::Context;

const STDOUT_BYTES_MAX: usize = 64 * 1024;
const STDERR_BYTES_MAX: usize = 16 * 1024;
/// After its end, what it left behind may hold its output open for this long.
const DRAIN: Duration = Duration::from_secs(1);
/// Between looks for what is left of a program that was told to stop: at first, and at most.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(500);

/// What is to be run, once the rules were asked.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) stdin: Option<String>,
    pub(super) limits: Limits,
}

pub(super) struct Child {
    process: tokio::process::Child,
    group: Group,
    readers: TaskTracker,
    stdout: Tail,
    stderr: Tail,
    said: Arc<Said>,
    meter: Arc<Meter>,
}

impl Child {
    pub(super) fn start(
        ctx: &Context<Runner>,
        launch: Launch,
        entry: Entry,
    ) -> Result<Self, Failure> {
        let mut process = command(ctx, &launch, &entry)
            .spawn()
            .map_err(|error| cannot_start(&launch, &error))?;
        let mut child = Self {
            group: Group {
                id: process.id(),
                entry: Some(entry),
            },
            readers: TaskTracker::new(),
            stdout: Tail::new(STDOUT_BYTES_MAX),
            stderr: Tail::new(STDERR_BYTES_MAX),
            said: Arc::default(),
            meter: Meter::new(launch.limits.output_bytes.map(Into::into)),
            process: {
                if let (Some(mut pipe), Some(text)) = (process.stdin.take(), launch.stdin) {
                    // On the side: it may write before it reads, and need not read at all.
                    tokio::spawn(async move { pipe.write_all(text.as_bytes()).await });
                }
                process
            },
        };
        child.listen(ctx);
        Ok(child)
    }

    fn listen(&mut self, ctx: &Context<Runner>) {
        if let Some(pipe) = self.process.stdout.take() {
            let (tail, meter, ctx) = (self.stdout.clone(), self.meter.clone(), ctx.clone());
            let said = self.said.clone();
            self.readers.spawn(async move {
                let progress = |done, total, message: &str| ctx.progress(done, total, message);
                let take = |line: &str| {
                    let is_meant_for_us = said.hear(line, progress);
                    if !is_meant_for_us {
                        ctx.log(line);
                    }
                    is_meant_for_us
                };
                tail.read(pipe, meter, take).await;
            });
        }
        if let Some(pipe) = self.process.stderr.take() {
            let (tail, meter, ctx) = (self.stderr.clone(), self.meter.clone(), ctx.clone());
            self.readers.spawn(async move {
                let log = |line: &str| {
                    ctx.log(line);
                    false
                };
                tail.read(pipe, meter, log).await;
            });
        }
        self.readers.close();
    }

    /// Trips when it has written more than it may.
    pub(super) fn flooded(&self) -> CancellationToken {
        self.meter.over.clone()
    }

    /// Waits for its end. May be dropped and asked again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Once it ended, waits for its output, and ends what it left behind in its group.
    pub(super) async fn finish(&mut self, status: ExitStatus) -> Exit {
        let drained = tokio::time::timeout(DRAIN, self.readers.wait())
            .await
            .is_ok();
        self.group.signal(Signal::SIGKILL);
        if !drained {
            // What left the group may hold the output open for ever.
            let _ = tokio::time::timeout(DRAIN, self.readers.wait()).await;
        }
        self.group.id = None;
        status.into()
    }

    /// SIGTERM to all that it started, wherever it went, and SIGKILL to what is left `patience`
    /// later.
    pub(super) async fn stop(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        let mark = self.group.mark();
        self.group.signal(Signal::SIGTERM);
        if let Some(group) = self.group.pid() {
            sweeping(&mark, move |mark| sweep::terminate_strays(mark, group)).await;
        }
        let _ = tokio::time::timeout(patience, self.process.wait()).await;
        let mut pause = LOOK;
        while Instant::now() < end
            && sweeping(&mark, |mark| !sweep::marked(mark).is_empty()).await == Some(true)
        {
            tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
        self.group.signal(Signal::SIGKILL);
        sweeping(&mark, sweep::kill_all).await;
        if let Ok(status) = self.ended().await {
            self.finish(status).await;
        }
    }

    /// What came of it when it succeeded.
    pub(super) fn output(&self) -> Result<ShellOutput, Failure> {
        Ok(ShellOutput {
            exit_code: 0,
            stdout: self.stdout(),
            stderr: self.stderr(),
            result: self.said.result()?,
            script_version: None,
        })
    }

    pub(super) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(super) fn stderr(&self) -> String {
        self.stderr.text()
    }
}

fn command(ctx: &Context<Runner>, launch: &Launch, entry: &Entry) -> Command {
    let mut command = match launch.limits.shell() {
        None => Command::new(&launch.program),
        Some(shell) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &shell, "haul"]).arg(&launch.program);
            command
        }
    };
    let runner = ctx.state();
    if let Some(environment) = &runner.environment {
        let seen = environment.iter().map(|(name, value)| (name, value));
        command.env_clear().envs(seen);
    }
    if let Some(user) = &runner.rules.user {
        let own = user.env.iter().map(|(name, value)| (name, value));
        command.uid(user.uid).gid(user.gid).envs(own);
    }
    command
        .args(&launch.args)
        .envs(&launch.env)
        .env("HAUL_JOB_ID", &**ctx.id())
        .env("HAUL_ATTEMPT", ctx.attempt().to_string())
        .env("HAUL_FENCE", ctx.fence().to_string())
        .envs(ctx.traceparent().map(|parent| ("TRACEPARENT", parent)))
        .env("HAUL_CHECKPOINT", entry.checkpoint())
        .env("HAUL_MARK", entry.mark())
        .stdin(match launch.stdin {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: signals reach what it starts, and not the worker.
        .process_group(0);
    if let Some(cwd) = &launch.cwd {
        command.current_dir(cwd);
    }
    command
}

/// A program that is not there, or may not be run, is as a shell's 127 or 126: fatal.
fn cannot_start(launch: &Launch, error: &io::Error) -> Failure {
    let program = launch.program.display();
    let message = match &launch.cwd {
        Some(cwd) => format!("cannot start `{program}` in {}: {error}", cwd.display()),
        None => format!("cannot start `{program}`: {error}"),
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            Failure::fatal(message)
        }
        _ => Failure::retry(message),
    }
}

/// Looks through all processes of this machine, which takes a few milliseconds.
async fn sweeping<T: Send + 'static>(
    mark: &str,
    look: impl FnOnce(&str) -> T + Send + 'static,
) -> Option<T> {
    let mark = mark.to_owned();
    let look = tokio::task::spawn_blocking(move || look(&mark));
    look.await.ok()
}

/// A process group; killed when dropped before it was seen to end, for nothing else would, and so
/// is what left it.
struct Group {
    id: Option<u32>,
    entry: Option<Entry>,
}

impl Group {
    fn mark(&self) -> String {
        self.entry.as_ref().map(Entry::mark).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Gone already is as good.
            let _ = killpg(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.id.and_then(|id| i32::try_from(id).ok());
        id.map(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.id.is_some() {
            self.signal(Signal::SIGKILL);
            let entry = self.entry.take();
            // It stays on the roll until that is done.
            thread::spawn(move || entry.map(|entry| sweep::kill_all(&entry.mark())));
        }
    }
}
