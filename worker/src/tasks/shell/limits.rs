//! What a job may use up.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Between the signal that tells a program that its CPU time is over, and SIGKILL.
const CPU_GRACE_S: u64 = 5;

/// What a job may use up; what is not said is unlimited. Memory, CPU time and open files hold for
/// each process of the job by itself. A job's time-out is an option of the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Address space of a process, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<NonZeroU64>,
    /// CPU time of a process, in seconds: then SIGXCPU, and SIGKILL 5 s later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<NonZeroU64>,
    /// Open files of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<NonZeroU64>,
    /// What the job writes to stdout and stderr together, in bytes; then it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<NonZeroU64>,
}

impl Limits {
    /// As much as it likes.
    pub const NONE: Self = Self {
        memory_bytes: None,
        cpu_s: None,
        open_files: None,
        output_bytes: None,
    };

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Of each limit the stricter one.
    pub(super) fn and(self, other: Self) -> Self {
        let stricter = |a: Option<NonZeroU64>, b: Option<NonZeroU64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self {
            memory_bytes: stricter(self.memory_bytes, other.memory_bytes),
            cpu_s: stricter(self.cpu_s, other.cpu_s),
            open_files: stricter(self.open_files, other.open_files),
            output_bytes: stricter(self.output_bytes, other.output_bytes),
        }
    }

    /// What a shell does first, so that the limits hold before anything runs; nothing where the
    /// system has nothing to limit. Where a limit cannot be set, the program does not run.
    pub(super) fn shell(&self) -> Option<String> {
        let mut lines = String::new();
        let mut limit = |option: &str, value: u64| {
            lines.push_str(&format!("ulimit {option} {value} || exit 126\n"));
        };
        if let Some(bytes) = self.memory_bytes {
            limit("-v", bytes.get().div_ceil(1024));
        }
        if let Some(seconds) = self.cpu_s {
            limit("-S -t", seconds.get());
            limit("-H -t", seconds.get().saturating_add(CPU_GRACE_S));
        }
        if let Some(files) = self.open_files {
            limit("-n", files.get());
        }
        (!lines.is_empty()).then(|| lines + "exec \"$@\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_limit_counts() {
        let limit = |n| NonZeroU64::new(n);
        let job = Limits {
            cpu_s: limit(60),
            open_files: limit(10),
            ..Limits::NONE
        };
        let worker = Limits {
            cpu_s: limit(30),
            memory_bytes: limit(1024),
            ..Limits::NONE
        };
        let both = job.and(worker);
        assert_eq!((both.cpu_s, both.open_files), (limit(30), limit(10)));
        assert_eq!(both.memory_bytes, limit(1024));
    }

    #[test]
    fn no_shell_runs_where_the_system_has_nothing_to_limit() {
        assert_eq!(Limits::NONE.shell(), None);
        let limits = Limits {
            output_bytes: NonZeroU64::new(1),
            ..Limits::NONE
        };
        assert_eq!(limits.shell(), None);
    }
}
