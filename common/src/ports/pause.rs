//! Queues of which nothing new is started.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{job::QueueName, time::Timestamp};

/// A queue's pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// By whom, for people.
    pub by: String,
    /// What for, for people.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Queues that are paused.
pub type Pauses = BTreeMap<QueueName, Pause>;
