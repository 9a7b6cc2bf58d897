//! A child process with a process group of its own, of which nothing is left behind.

use std::{io, process::Stdio, time::Duration};

use haul_common::job::Failure;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{io::AsyncWriteExt, process::Command, task::JoinHandle};

use super::{Exit, KILL_AFTER, ShellOutput, ShellRun, tail::Tail};
use crate::Context;

const STDOUT_BYTES_MAX: usize = 64 * 1024;
const STDERR_BYTES_MAX: usize = 16 * 1024;
/// After its end, what it left behind may hold its output open for this long.
const DRAIN: Duration = Duration::from_secs(1);

pub(super) struct Child {
    process: tokio::process::Child,
    group: Group,
    readers: Vec<JoinHandle<()>>,
    stdout: Tail,
    stderr: Tail,
}

impl Child {
    pub(super) fn start(
        ctx: &Context<()>,
        argv: &[String],
        args: &ShellRun,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .envs(&args.env)
            .env("HAUL_JOB_ID", &**ctx.id())
            .env("HAUL_ATTEMPT", ctx.attempt().to_string())
            .env("HAUL_FENCE", ctx.fence().to_string())
            .stdin(if args.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: signals reach what it starts, and not the worker.
            .process_group(0);
        if let Some(cwd) = &args.cwd {
            command.current_dir(cwd);
        }
        let mut process = command
            .spawn()
            .map_err(|error| cannot_start(&argv[0], args, &error))?;
        let group = Group(process.id());
        let (stdout, stderr) = (Tail::new(STDOUT_BYTES_MAX), Tail::new(STDERR_BYTES_MAX));
        let mut readers = Vec::new();
        if let Some(pipe) = process.stdout.take() {
            let (tail, ctx) = (stdout.clone(), ctx.clone());
            readers.push(tokio::spawn(async move {
                tail.read(pipe, |line| ctx.log(line)).await;
            }));
        }
        if let Some(pipe) = process.stderr.take() {
            let (tail, ctx) = (stderr.clone(), ctx.clone());
            readers.push(tokio::spawn(async move {
                tail.read(pipe, |line| ctx.log(line)).await;
            }));
        }
        if let (Some(mut pipe), Some(text)) = (process.stdin.take(), args.stdin.clone()) {
            // On the side: it may write before it reads, and need not read at all.
            tokio::spawn(async move { pipe.write_all(text.as_bytes()).await });
        }
        Ok(Self {
            process,
            group,
            readers,
            stdout,
            stderr,
        })
    }

    /// Waits for its end and for its output, and ends what it left behind.
    pub(super) async fn finished(&mut self) -> io::Result<Exit> {
        let status = self.process.wait().await?;
        let readers = futures_util::future::join_all(&mut self.readers);
        let drained = tokio::time::timeout(DRAIN, readers).await.is_ok();
        self.group.signal(Signal::SIGKILL);
        if !drained {
            let readers = futures_util::future::join_all(&mut self.readers);
            let _ = tokio::time::timeout(DRAIN, readers).await;
        }
        self.group.0 = None;
        Ok(status.into())
    }

    /// SIGTERM to the whole group, and SIGKILL to what is left of it after [`KILL_AFTER`].
    pub(super) async fn stop(&mut self) {
        self.group.signal(Signal::SIGTERM);
        let _ = tokio::time::timeout(KILL_AFTER, self.process.wait()).await;
        self.group.signal(Signal::SIGKILL);
        let _ = self.finished().await;
    }

    pub(super) fn output(&self, exit_code: i32) -> ShellOutput {
        ShellOutput {
            exit_code,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }

    pub(super) fn stderr(&self) -> String {
        self.stderr.text()
    }
}

/// A program that is not there, or may not be run, is as a shell's 127 or 126: fatal.
fn cannot_start(program: &str, args: &ShellRun, error: &io::Error) -> Failure {
    let message = match &args.cwd {
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

/// A process group; killed when dropped before it was seen to end, for nothing else would.
struct Group(Option<u32>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
