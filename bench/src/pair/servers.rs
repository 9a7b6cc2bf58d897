//! What the servers spend, as the kernel tells.

use std::{fs, ops::Sub};

/// The servers' processes, where they are known.
#[derive(Debug)]
pub(super) struct Servers {
    broker: Option<u32>,
    store: Option<u32>,
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
    pub(super) const fn new(broker: Option<u32>, store: Option<u32>) -> Self {
        Self { broker, store }
    }

    pub(super) fn used(&self) -> Used {
        Used {
            broker_us: self.broker.and_then(cpu_us).unwrap_or(f64::NAN),
            store_us: self.store.and_then(cpu_us).unwrap_or(f64::NAN),
        }
    }

    /// Resident memory of broker and store.
    pub(super) fn memory_mib(&self) -> [f64; 2] {
        [self.broker, self.store].map(|pid| pid.and_then(memory_mib).unwrap_or(f64::NAN))
    }
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
