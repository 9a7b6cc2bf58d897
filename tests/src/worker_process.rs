//! Workers in processes of their own: spawned, killed, frozen and thawed, with a ledger that
//! survives them. The program is `src/bin/test-worker.rs`.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use haul_common::job::{JobId, Task};
use haul_worker::{Context, Failure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::site::Site;

/// The queue that these workers serve unless told otherwise.
pub const QUEUE: &str = "default";

/// The one task of these workers: its lines, one after the other. `ok`; `fail N` and `kill N` (the
/// first N attempts, without N every one); `panic`; `hang`; `sleep_ms N`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Script {
    script: Vec<String>,
}

impl Script {
    /// A script of these lines.
    pub fn new(lines: &[&str]) -> Self {
        Self {
            script: lines.iter().map(ToString::to_string).collect(),
        }
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.script.iter().map(String::as_str)
    }
}

impl Task for Script {
    const NAME: &'static str = "test.script";
    type Output = ();
}

/// The file that a worker writes what it did to. One write for each line: lines of several
/// processes do not mix, and a kill leaves whole lines.
#[derive(Debug)]
pub struct LedgerFile(Mutex<File>);

impl LedgerFile {
    /// Opens it, to append.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Adds a line.
    pub fn write(&self, what: &str, id: &JobId, fence: u64, attempt: u32) {
        let line = format!("{what} {id} {fence} {attempt}\n");
        let mut file = self.0.lock().unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// The handler of [`Script`].
///
/// # Errors
/// As the script says.
pub async fn play(ctx: Context<LedgerFile>, script: Script) -> Result<(), Failure> {
    let write = |what: &str| {
        let (ledger, fence) = (ctx.state(), ctx.fence().0);
        ledger.write(what, ctx.id(), fence, ctx.attempt());
    };
    write("start");
    for line in script.lines() {
        let mut words = line.split(' ');
        let (word, number) = (words.next().unwrap_or_default(), words.next());
        let number = number.and_then(|number| number.parse::<u32>().ok());
        match word {
            "ok" => {}
            // The first N attempts.
            "fail" if ctx.attempt() <= number.unwrap_or(u32::MAX) => {
                write("end");
                return Err(Failure::retry("by script"));
            }
            "kill" if ctx.attempt() <= number.unwrap_or(u32::MAX) => {
                let own = Pid::from_raw(std::process::id().cast_signed());
                kill(own, Signal::SIGKILL)?;
            }
            "fail" | "kill" => {}
            "panic" => panic!("by script"),
            "hang" => std::future::pending().await,
            "sleep_ms" => {
                tokio::time::sleep(Duration::from_millis(number.unwrap_or(0).into())).await;
            }
            other => return Err(Failure::fatal(format!("`{other}` is not in any script"))),
        }
    }
    write("effect");
    write("end");
    Ok(())
}

/// What workers did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `start`, `effect` or `end`.
    pub what: String,
    /// Of which job.
    pub job: String,
    /// In which attempt.
    pub fence: u64,
    /// The attempt's number.
    pub attempt: u32,
}

/// All that workers of a site did, in order.
#[derive(Debug, Clone)]
pub struct Ledger(Vec<Entry>);

impl Ledger {
    /// Reads it.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self(text.lines().filter_map(entry).collect())
    }

    /// How often each job did this.
    pub fn counts(&self, what: &str) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for entry in self.0.iter().filter(|entry| entry.what == what) {
            *counts.entry(entry.job.as_str()).or_default() += 1;
        }
        counts
    }

    /// How often this job did this.
    pub fn count(&self, what: &str, job: &JobId) -> usize {
        self.counts(what).get(&**job).copied().unwrap_or(0)
    }

    /// How often anything did this.
    pub fn total(&self, what: &str) -> usize {
        self.0.iter().filter(|entry| entry.what == what).count()
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    Some(Entry {
        what: words.next()?.to_owned(),
        job: words.next()?.to_owned(),
        fence: words.next()?.parse().ok()?,
        attempt: words.next()?.parse().ok()?,
    })
}

/// How a worker process is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose jobs it runs.
    pub queue: &'static str,
    /// Jobs at once.
    pub slots: u32,
    /// When a guard stands in.
    pub guard_after: Duration,
    /// Where it crashes.
    pub crash_at: Option<&'static str>,
    /// Where it freezes.
    pub freeze_at: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: QUEUE,
            slots: 4,
            guard_after: Duration::from_secs(600),
            crash_at: None,
            freeze_at: None,
        }
    }
}

/// A worker process. Killed when dropped.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    ready: watch::Receiver<bool>,
    said: Arc<Mutex<Vec<String>>>,
}

/// The program, beside the program that runs, or beside the folder of the test that runs.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let mut places = own.ancestors().skip(1).map(|dir| dir.join("test-worker"));
    places.find(|place| place.exists()).unwrap()
}

fn command(site: &Site) -> Command {
    let mut command = Command::new(program());
    command
        .envs(site.env())
        .env_remove("HAUL_CRASH_AT")
        .stdin(Stdio::null());
    command
}

/// Runs `test-worker` with `args` once, to its end.
pub fn run_once(site: &Site, crash_at: Option<&str>, args: &[&str]) -> ExitStatus {
    let mut command = command(site);
    command.envs(crash_at.map(|point| ("HAUL_CRASH_AT", point)));
    command.args(args).status().unwrap()
}

impl WorkerProcess {
    /// Starts one.
    pub fn spawn(site: &Site, settings: &Settings) -> Self {
        let mut command = command(site);
        command
            .envs(settings.crash_at.map(|point| ("HAUL_CRASH_AT", point)))
            .envs(settings.freeze_at.map(|point| ("HAUL_FREEZE_AT", point)))
            .args([settings.queue, &settings.slots.to_string()])
            .arg(settings.guard_after.as_millis().to_string())
            .arg(site.ledger_path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (told, ready) = watch::channel(false);
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                told.send_replace(line == "ready");
            }
        });
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let (err, heard) = (BufReader::new(child.stderr.take().unwrap()), said.clone());
        thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Self { child, ready, said }
    }

    /// Starts one, and waits until it is ready.
    pub async fn ready(site: &Site, settings: &Settings) -> Self {
        let worker = Self::spawn(site, settings);
        worker.becomes_ready(Duration::from_secs(40)).await;
        worker
    }

    /// Waits until all its consumers are attached.
    pub async fn becomes_ready(&self, limit: Duration) {
        self.becomes(true, limit).await;
    }

    /// Waits until it says that a consumer is missing.
    pub async fn becomes_unready(&self, limit: Duration) {
        self.becomes(false, limit).await;
    }

    async fn becomes(&self, wanted: bool, limit: Duration) {
        let mut ready = self.ready.clone();
        let waiting = tokio::time::timeout(limit, ready.wait_for(|ready| *ready == wanted));
        let in_time = waiting.await.is_ok_and(|seen| seen.is_ok());
        assert!(in_time, "ready={wanted} within {limit:?}: {}", self.log());
    }

    /// What it said on stderr.
    pub fn log(&self) -> String {
        let said = self.said.lock().unwrap();
        said[said.len().saturating_sub(60)..].join("\n")
    }

    /// Whether it said this.
    pub fn said(&self, what: &str) -> bool {
        self.said
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(what))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// SIGKILL, and its end.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Freezes it.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Thaws it.
    pub fn cont(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to drain.
    pub fn term(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Whether it goes on.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The most memory that it ever had.
    pub fn peak_memory_kib(&self) -> u64 {
        peak_memory_kib(&self.child.id().to_string())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it goes on: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The most memory that a process (`self`, or a number) ever had.
pub fn peak_memory_kib(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("-- a worker said:\n{}", self.log());
        }
    }
}
