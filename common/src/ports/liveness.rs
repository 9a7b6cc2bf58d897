//! What a worker says of itself to the store, and what it hears.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    job::{Fence, JobId, QueueName, WorkerId},
    time::Timestamp,
};

/// A sign of life.
#[derive(Debug, Clone)]
pub struct Beat {
    /// Whose.
    pub worker: WorkerInfo,
    /// The attempts it runs.
    pub running: Vec<(JobId, Fence)>,
}

/// A worker as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Which.
    pub id: WorkerId,
    /// On which host.
    pub host: String,
    /// As which process there.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Queues and how many of their jobs it runs at once.
    pub queues: BTreeMap<QueueName, u32>,
    /// It starts nothing new.
    #[serde(default)]
    pub quiet: bool,
}

/// Answer to a [`Beat`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Attempts that were asked to stop.
    pub cancelled: Vec<JobId>,
    /// Attempts that are no longer this worker's.
    pub lost: Vec<JobId>,
    /// Attempts that the store does not know: it lost the record, or the claim.
    pub forgotten: Vec<JobId>,
    /// Queues that are paused: any, not only this worker's.
    pub paused: BTreeSet<QueueName>,
}
