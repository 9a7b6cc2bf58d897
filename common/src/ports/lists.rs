//! What a store answers about many jobs at once.

use std::collections::BTreeMap;

use crate::{
    job::{BatchId, QueueName, Record, StateKind},
    time::Timestamp,
};

/// Which part of a list.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// How many at most.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<String>,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Newest first. Attempts, logs and raw bytes may be left out.
    pub records: Vec<Record>,
    /// Where to go on; nothing when this was the end. A page may be short and still go on.
    pub next: Option<String>,
}

/// How many jobs a queue has in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueCounts {
    /// Which queue.
    pub queue: QueueName,
    /// States with at least one job.
    pub states: BTreeMap<StateKind, u64>,
}

/// How many jobs a batch has in each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCounts {
    /// Which batch.
    pub batch: BatchId,
    /// When its first job was made.
    pub created: Timestamp,
    /// States with at least one job.
    pub states: BTreeMap<StateKind, u64>,
}

/// A part of the list of batches.
#[derive(Debug, Clone)]
pub struct BatchListing {
    /// Newest first.
    pub batches: Vec<BatchCounts>,
    /// Where to go on; nothing when this was the end. A page may be short and still go on.
    pub next: Option<String>,
}

impl BatchCounts {
    /// Jobs in this state.
    pub fn count(&self, state: StateKind) -> u64 {
        self.states.get(&state).copied().unwrap_or(0)
    }

    /// Jobs in all.
    pub fn jobs(&self) -> u64 {
        self.states.values().sum()
    }
}
