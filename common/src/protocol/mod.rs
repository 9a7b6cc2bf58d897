//! The order of calls, written once above the ports.

use std::time::Duration;

/// A worker that has not beaten for this long is dead.
pub const WORKER_TTL: Duration = Duration::from_secs(10);
/// How often a worker beats.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
