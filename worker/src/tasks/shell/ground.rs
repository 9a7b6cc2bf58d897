//! What the shell jobs of a worker stand on: a mark that all their processes carry, a directory, and
//! a watcher that cleans up when the worker dies.
//!
//! A parent-death signal would not do: it fires when the *thread* that started a child ends, and
//! misses grandchildren. A mark in the environment is inherited by whatever a job starts, in
//! whatever group or session, and is there from the first instant. Only what leaves the job's
//! process group and also wipes its environment is missed.
//!
//! What an attempt that has ended left behind on purpose, in a session of its own, is its own
//! business. So the *roll* tells which attempts run: a few bytes in a file that outlives the
//! worker, written without a system call that waits.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use tokio::process::Command;

use super::rules::RunAs;

const WATCHER: &str = include_str!("watcher.sh");
/// The longest number and a line's end.
const ENTRY_BYTES: usize = 21;

/// What the shell jobs of a worker stand on.
#[derive(Debug)]
pub(super) struct Ground {
    mark: String,
    dir: TempDir,
    roll: File,
    /// Entries of the roll that are in use.
    taken: Mutex<Vec<bool>>,
    next: AtomicU64,
    /// Its stdin is open as long as this lives, or the process.
    _watcher: Option<tokio::process::Child>,
}

impl Ground {
    pub(super) fn new(user: Option<&RunAs>) -> io::Result<Arc<Self>> {
        let dir = tempfile::Builder::new().prefix("haul-").tempdir()?;
        let checkpoints = dir.path().join("checkpoint");
        fs::create_dir(&checkpoints)?;
        if let Some(user) = user {
            // It may pass through, and write checkpoints; scripts stay the worker's.
            fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
            chown(&checkpoints, Some(user.uid), Some(user.gid))?;
        }
        let path = dir.path().join("roll");
        let roll = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        let mark = format!("{}-{:016x}", std::process::id(), fastrand::u64(..));
        let watcher = watch(&mark, dir.path(), &roll).inspect_err(|error| {
            tracing::warn!(%error, "no watcher: what jobs start may outlive this worker's death");
        });
        Ok(Arc::new(Self {
            mark,
            dir,
            roll,
            taken: Mutex::default(),
            next: AtomicU64::new(1),
            _watcher: watcher.ok(),
        }))
    }

    fn taken(&self) -> MutexGuard<'_, Vec<bool>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an attempt on the roll. Before its process starts.
    pub(super) fn enter(self: &Arc<Self>) -> io::Result<Entry> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = {
            let mut taken = self.taken();
            let free = taken.iter().position(|taken| !taken);
            let place = free.unwrap_or(taken.len());
            if place == taken.len() {
                taken.push(true);
            } else {
                taken[place] = true;
            }
            place
        };
        let entry = Entry {
            ground: self.clone(),
            number,
            place,
        };
        self.write(place, &number.to_string())?;
        Ok(entry)
    }

    fn write(&self, place: usize, text: &str) -> io::Result<()> {
        let line = format!("{text:<width$}\n", width = ENTRY_BYTES - 1);
        self.roll
            .write_all_at(line.as_bytes(), (place * ENTRY_BYTES) as u64)
    }
}

/// An attempt on the roll, until dropped.
#[derive(Debug)]
pub(super) struct Entry {
    ground: Arc<Ground>,
    number: u64,
    place: usize,
}

impl Entry {
    /// What all processes of this attempt have in their environment as HAUL_MARK. Ends in a dot, so
    /// that none begins as another.
    pub(super) fn mark(&self) -> String {
        format!("{}.{}.", self.ground.mark, self.number)
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        let dir = self.ground.dir.path();
        dir.join("checkpoint").join(self.number.to_string())
    }

    pub(super) fn script(&self, name: &str) -> PathBuf {
        let dir = self.ground.dir.path();
        dir.join(format!("{}-{name}", self.number))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Err(error) = self.ground.write(self.place, "") {
            tracing::debug!(%error, "an attempt stays on the roll");
        }
        if let Some(taken) = self.ground.taken().get_mut(self.place) {
            *taken = false;
        }
    }
}

/// In a group of its own, which Ctrl-C does not reach, and with nothing of a job's environment, so
/// that the worker of an outer job does not take it for a job.
fn watch(mark: &str, dir: &Path, roll: &File) -> io::Result<tokio::process::Child> {
    Command::new("/bin/sh")
        .args(["-c", WATCHER, "haul-watcher", mark])
        .arg(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(roll.try_clone()?)
        .stderr(Stdio::null())
        .spawn()
}
