//! Finds and ends what an attempt started, wherever it went: by the mark in its environment.

use std::{fs, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PAUSE: Duration = Duration::from_millis(10);
const ROUNDS_MAX: usize = 200;

/// The processes that carry this mark. A process that has ended, but was not collected, has none.
pub(super) fn marked(mark: &str) -> Vec<Pid> {
    let entry = format!("HAUL_MARK={mark}");
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.flatten().filter_map(|process| {
        let name = process.file_name();
        name.to_str()?.parse().ok()
    });
    let carries = |pid: &i32| {
        // Not another user's, and not gone meanwhile.
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == entry.as_bytes())
    };
    pids.filter(carries).map(Pid::from_raw).collect()
}

/// Sends all of them a signal; whether there were any.
pub(super) fn signal(mark: &str, signal: Signal) -> bool {
    let pids = marked(mark);
    for pid in &pids {
        // Gone already is as good.
        let _ = kill(*pid, signal);
    }
    !pids.is_empty()
}

/// Kills all of them, and what they start meanwhile, until none is left. Blocks.
pub(super) fn kill_all(mark: &str) {
    for _ in 0..ROUNDS_MAX {
        if !signal(mark, Signal::SIGKILL) {
            return;
        }
        thread::sleep(PAUSE);
    }
    tracing::warn!(pids = ?marked(mark), "processes of a job cannot be killed");
}
