//! The worker processes, each behind proxies of its own, and a supervisor that brings back the
//! ones that die.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    act::Link,
    evidence::{Event, Hit, LEDGER, write_lines},
    ledger::now_us,
    load::Progress,
};
use crate::proxy::Proxy;

/// What is done, written down.
#[derive(Debug, Default)]
pub struct Events(Mutex<Vec<Event>>);

impl Events {
    /// This happened from then until now.
    pub fn happened(&self, hit: Hit, from_us: u64, what: impl Into<String>) {
        let (until_us, what) = (now_us(), what.into());
        tracing::info!(?hit, ms = (until_us - from_us) / 1000, what);
        self.0.lock().unwrap().push(Event {
            hit,
            from_us,
            until_us,
            what,
        });
    }

    /// Writes them to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write_lines(path, &self.0.lock().unwrap())
    }
}

/// The connections of one process.
#[derive(Debug)]
pub struct Links {
    amqp: Proxy,
    redis: Proxy,
}

impl Links {
    /// Towards these servers.
    pub async fn to(amqp: &str, redis: &str) -> Self {
        Self {
            amqp: Proxy::to(amqp).await,
            redis: Proxy::to(redis).await,
        }
    }

    /// The one to this server.
    pub const fn link(&self, link: Link) -> &Proxy {
        match link {
            Link::Amqp => &self.amqp,
            Link::Redis => &self.redis,
        }
    }
}

/// How worker processes are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Jobs at once.
    pub slots: u32,
    /// When a guard stands in.
    pub guard_after: Duration,
    /// Where ledgers and logs go.
    pub dir: PathBuf,
}

#[derive(Debug)]
struct Slot {
    child: Option<Child>,
    starts: u32,
    paused: bool,
    env: Vec<(String, String)>,
}

/// All worker processes.
#[derive(Debug)]
pub struct Fleet {
    how: Launch,
    slots: Vec<Mutex<Slot>>,
    events: Arc<Events>,
    progress: Arc<Progress>,
}

/// How long a process that ended by itself stays away.
const AWAY: Duration = Duration::from_millis(500);

impl Fleet {
    /// Starts one process for each of `envs`.
    pub fn start(
        how: Launch,
        envs: Vec<Vec<(String, String)>>,
        events: Arc<Events>,
        progress: Arc<Progress>,
    ) -> Arc<Self> {
        let slot = |env| {
            Mutex::new(Slot {
                child: None,
                starts: 0,
                paused: false,
                env,
            })
        };
        let fleet = Arc::new(Self {
            how,
            slots: envs.into_iter().map(slot).collect(),
            events,
            progress,
        });
        (0..fleet.slots.len()).for_each(|worker| fleet.spawn(worker, &[]));
        fleet
    }

    /// Brings back whoever ends by itself, for as long as this is kept.
    pub fn supervise(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let fleet = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let dead = (0..fleet.slots.len()).filter(|worker| fleet.buried(*worker));
                for worker in dead {
                    let fleet = fleet.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(AWAY).await;
                        fleet.spawn(worker, &[]);
                    });
                }
            }
        }))
    }

    /// Whether it has just ended by itself.
    fn buried(&self, worker: usize) -> bool {
        let mut slot = self.slots[worker].lock().unwrap();
        let ended = slot
            .child
            .as_mut()
            .and_then(|child| child.try_wait().unwrap());
        let Some(status) = ended else { return false };
        slot.child = None;
        let name = name(worker, slot.starts);
        let (hit, how) = match status.signal() {
            Some(signal) => (Hit::Killed(name), format!("it crashed by signal {signal}")),
            None => (Hit::Ended(name), format!("it ended: {status}")),
        };
        self.events.happened(hit, now_us(), how);
        true
    }

    /// Starts it, unless it runs.
    pub fn spawn(&self, worker: usize, extra: &[(&str, String)]) {
        let mut slot = self.slots[worker].lock().unwrap();
        if slot.child.is_some() {
            return;
        }
        slot.starts += 1;
        let name = name(worker, slot.starts);
        let ledger = self.how.dir.join(&name).with_extension(LEDGER);
        let said = File::create(self.how.dir.join(&name).with_extension("log")).unwrap();
        let program = std::env::current_exe()
            .unwrap()
            .with_file_name("chaos-worker");
        let child = Command::new(program)
            .envs(slot.env.iter().cloned())
            .envs(extra.iter().map(|(key, value)| (key, value)))
            .arg(self.how.slots.to_string())
            .arg(self.how.guard_after.as_millis().to_string())
            .arg(&ledger)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        self.progress.follow(ledger);
        slot.child = Some(child);
        slot.paused = false;
    }

    /// The first of these workers, from `worker` on, that runs and is not paused.
    pub fn healthy(&self, worker: usize) -> Option<usize> {
        let count = self.slots.len();
        let well = |worker: &usize| {
            let slot = self.slots[*worker].lock().unwrap();
            slot.child.is_some() && !slot.paused
        };
        (worker..worker + count).map(|n| n % count).find(well)
    }

    /// The name of the process that it is now.
    pub fn process(&self, worker: usize) -> String {
        name(worker, self.slots[worker].lock().unwrap().starts)
    }

    /// SIGKILL.
    pub fn kill(&self, worker: usize) {
        let mut slot = self.slots[worker].lock().unwrap();
        let Some(mut child) = slot.child.take() else {
            return;
        };
        let (name, at) = (name(worker, slot.starts), now_us());
        child.kill().unwrap();
        child.wait().unwrap();
        self.events.happened(Hit::Killed(name), at, "kill -9");
    }

    /// SIGSTOP.
    pub fn pause(&self, worker: usize) {
        self.signal(worker, Signal::SIGSTOP, true);
    }

    /// SIGTERM: it drains, and another one takes its place.
    pub fn drain(&self, worker: usize) {
        self.signal(worker, Signal::SIGTERM, false);
    }

    /// SIGCONT.
    pub fn resume(&self, worker: usize) {
        self.signal(worker, Signal::SIGCONT, false);
    }

    fn signal(&self, worker: usize, signal: Signal, paused: bool) {
        let mut slot = self.slots[worker].lock().unwrap();
        if let Some(child) = &slot.child {
            kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        }
        slot.paused = paused;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(child) = &mut slot.get_mut().unwrap().child {
                let _ = (child.kill(), child.wait());
            }
        }
    }
}

/// Which worker, and its how manieth process.
fn name(worker: usize, starts: u32) -> String {
    format!("w{worker}-{starts}")
}
