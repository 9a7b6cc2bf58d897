//! Finds and ends what an attempt started, wherever it went: by the mark in its environment.

use std::{fs, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpgid},
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

/// SIGTERM to those that left this process group: a second one to the others would say "at once" to
/// some programs.
pub(super) fn terminate_strays(mark: &str, group: Pid) {
    for pid in marked(mark) {
        if getpgid(Some(pid)).is_ok_and(|its| its != group) {
            // Gone already is as good.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }
}

/// Kills all of them, and what they start meanwhile, until none is left. Blocks.
pub(super) fn kill_all(mark: &str) {
    for _ in 0..ROUNDS_MAX {
        let pids = marked(mark);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(PAUSE);
    }
    tracing::warn!(pids = ?marked(mark), "processes of a job cannot be killed");
}
