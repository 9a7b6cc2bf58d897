//! A directory of its own for each test, and the `haul` binary in it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its own part of this; a helper that fails fails its test"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// Nothing here takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A working directory with an empty `haul.db` to be.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haul"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for variable in [
            "HAUL_BROKER",
            "HAUL_STORE",
            "HAUL_BROKER_FILE",
            "HAUL_STORE_FILE",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "HAUL_NAMESPACE",
            "HAUL_CONFIG",
            "HAUL_LOG",
            "HAUL_HTTP_SIGN_KEY",
            "COLUMNS",
        ] {
            command.env_remove(variable);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn haul(&self, args: &[&str]) -> Ran {
        finish(self.command(args).spawn().unwrap())
    }

    /// Runs a command to its end, with this on its stdin.
    pub(crate) fn haul_with(&self, stdin: &str, args: &[&str]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // Gone when it does not want to read.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        finish(child)
    }

    /// Runs a command that must succeed; its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.haul(args);
        assert_eq!(ran.code, Some(0), "haul {args:?}: {ran:?}");
        ran.stdout.trim_end().to_owned()
    }

    /// Runs a command that must succeed; its stdout as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// The job's record.
    pub(crate) fn show(&self, id: &str) -> Value {
        self.json(&["job", "show", id, "--json"])
    }

    /// Pushes a job, which gets one attempt unless `more` says; its id.
    pub(crate) fn push(&self, task: &str, args: &Value, more: &[&str]) -> String {
        let args = args.to_string();
        let mut command = vec!["job", "push", task, "--args", &args];
        if !more.contains(&"--attempts") {
            command.extend(["--attempts", "1"]);
        }
        command.extend(more);
        self.ok(&command)
    }

    /// The job's record, once it has ended.
    pub(crate) fn ended(&self, id: &str) -> Value {
        let ran = self.haul(&["job", "wait", id, "--timeout", "25s", "--json"]);
        assert!(matches!(ran.code, Some(0 | 3)), "{ran:?}");
        self.show(id)
    }

    /// A worker that is ready.
    pub(crate) fn worker(&self, args: &[&str]) -> Worker {
        let args: Vec<&str> = ["worker"].iter().chain(args).copied().collect();
        Worker::start(&mut self.command(&args))
    }
}

/// Waits for a command that ends soon; kills it and fails the test if it does not.
fn finish(child: Child) -> Ran {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output().unwrap()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => ran(output),
        Err(_) => {
            kill(pid, Signal::SIGKILL).unwrap();
            panic!("not ended within {PATIENCE:?}: {:?}", ended.recv());
        }
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running `haul worker`; killed when dropped.
pub(crate) struct Worker {
    child: Child,
}

impl Worker {
    /// Starts this command, and waits until it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let worker = Self { child };
        Self::await_ready(stderr);
        worker
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn await_ready(mut stderr: BufReader<ChildStderr>) {
        await_line(&mut stderr, "ready");
        // Read on, or it would block on a full pipe.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Its exit code, once it has ended.
    pub(crate) fn ended(mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until a line contains `word`.
pub(crate) fn await_line(from: &mut impl BufRead, word: &str) {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(
            from.read_line(&mut line).unwrap(),
            0,
            "it ended before it said `{word}`"
        );
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// The exit code of a child that ends soon.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let mut code = None;
    eventually("the process ends", || {
        let status = child.try_wait().unwrap();
        code = status.and_then(|status| status.code());
        status.is_some()
    });
    code
}

/// Waits until `holds`, and fails the test if it does not within [`PATIENCE`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
