//! What the servers spend, as the kernel tells.

use std::{fs, ops::Sub};

/// The servers' processes, where they are known.
#[derive(Debug)]
pub(super) struct Servers {
    /// One for each node.
    pub(super) broker: Vec<u32>,
    pub(super) store: Vec<u32>,
}

/// Processor time so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub(super) broker_us: f64,
    pub(super) store_us: f64,
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            broker_us: self.broker_us - before.broker_us,
            store_us: self.store_us - before.store_us,
        }
    }
}

impl Servers {
    pub(super) fn used(&self) -> Used {
        Used {
            broker_us: sum(&self.broker, cpu_us),
            store_us: sum(&self.store, cpu_us),
        }
    }

    /// Resident memory of broker and store.
    pub(super) fn memory_mib(&self) -> [f64; 2] {
        [&self.broker, &self.store].map(|pids| sum(pids, memory_mib))
    }
}

/// Over all processes; no number where one cannot be told, or none is known.
fn sum(pids: &[u32], of: fn(u32) -> Option<f64>) -> f64 {
    if pids.is_empty() {
        return f64::NAN;
    }
    pids.iter().map(|pid| of(*pid).unwrap_or(f64::NAN)).sum()
}

/// User and system time, which the kernel counts in hundredths of a second.
fn cpu_us(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10_000.0)
}

fn memory_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}
