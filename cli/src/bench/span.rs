//! A piece of time, and what this process spent in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};

/// Since when, by everybody's clock.
#[derive(Debug)]
pub(super) struct Span {
    from: Duration,
    cpu: Duration,
}

impl Span {
    pub(super) fn start() -> Self {
        Self {
            from: now(),
            cpu: cpu(),
        }
    }

    /// Its two ends in microseconds since 1970: what several processes did is put together by them.
    pub(super) fn ends_us(&self) -> (u64, u64) {
        (micros(self.from), micros(now()))
    }

    /// Processor time of all threads.
    pub(super) fn cpu(&self) -> Duration {
        cpu().saturating_sub(self.cpu)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn cpu() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let times = [usage.user_time(), usage.system_time()];
        let micros = times.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
        Duration::from_micros(micros.iter().sum::<i64>().unsigned_abs())
    })
}

/// The most memory this process ever had, in KiB.
pub(super) fn memory_kib() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss())
}
