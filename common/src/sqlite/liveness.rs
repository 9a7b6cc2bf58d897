//! Whether a process is still there: asked of the system where it is ours to see, otherwise
//! judged by when it was last heard of.

use std::{fs, process, sync::OnceLock};

use crate::{ports::WORKER_TTL, time::Timestamp};

/// Names one process for ever, where the system can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// When it was born, in ticks since boot: a pid is used again.
    pub(super) birth: Option<i64>,
    /// This boot of this kernel and its pid namespace: elsewhere, pids mean other processes.
    pub(super) place: Option<String>,
}

impl Identity {
    /// This process.
    pub(super) fn own() -> &'static Self {
        static OWN: OnceLock<Identity> = OnceLock::new();
        OWN.get_or_init(|| Self {
            pid: process::id(),
            birth: birth(process::id()),
            place: place(),
        })
    }

    /// Whether it was heard of lately, and nothing shows that it has ended since.
    pub(super) fn is_alive(&self, seen: Timestamp, now: Timestamp) -> bool {
        now.since(seen) <= WORKER_TTL && !self.is_gone()
    }

    /// Certain that it has ended.
    fn is_gone(&self) -> bool {
        let own = Self::own();
        let visible = self.place.is_some() && self.place == own.place && self.birth.is_some();
        visible && birth(self.pid) != self.birth
    }
}

/// Field 22 of `/proc/<pid>/stat`. Nothing for a process that has ended, buried or not.
fn birth(pid: u32) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, in brackets, and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let pids = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), pids.display()))
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::*;

    fn identity(pid: u32) -> Identity {
        Identity {
            pid,
            birth: birth(pid),
            place: place(),
        }
    }

    #[test]
    fn a_process_is_alive_until_it_ends_even_before_it_is_buried() {
        let now = Timestamp::now();
        assert!(Identity::own().is_alive(now, now));
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let other = identity(child.id());
        assert!(other.birth.is_some() && other.is_alive(now, now));
        child.kill().unwrap();
        while other.is_alive(now, now) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!other.is_alive(now, now));
    }

    #[test]
    fn a_process_that_was_not_heard_of_is_not_alive() {
        let seen = Timestamp::now();
        let later = seen + WORKER_TTL + Duration::from_millis(1);
        assert!(!Identity::own().is_alive(seen, later));
    }

    #[test]
    fn a_process_of_another_place_is_judged_by_its_beat_alone() {
        let now = Timestamp::now();
        let mut elsewhere = Identity::own().clone();
        elsewhere.pid = u32::MAX;
        assert!(!elsewhere.is_alive(now, now));
        elsewhere.place = Some("another host".to_owned());
        assert!(elsewhere.is_alive(now, now));
    }
}
