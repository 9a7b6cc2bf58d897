//! What is known about a job.

use serde::{Deserialize, Serialize};

use super::{Fence, Outcome, Spec, WorkerId};
use crate::{life::Life, time::Timestamp};

/// What is known about a job.
#[derive(Debug, Clone)]
pub struct Record {
    /// What was asked for.
    pub spec: Spec,
    /// Where it is in its life.
    pub life: Life,
    /// When it was first known.
    pub created: Timestamp,
    /// How far the latest attempt said it was.
    pub progress: Option<Progress>,
    /// Log lines of the attempt that runs, or of the last one that was lost.
    pub log: String,
    /// The attempts that ended, oldest first; at most [`super::ATTEMPTS_KEPT`].
    pub attempts: Vec<Attempt>,
    /// The bytes that came, where they could not be read as a job.
    pub raw: Option<Vec<u8>>,
}

impl Record {
    /// A record of `spec` at `life`, with nothing else known.
    pub const fn new(spec: Spec, life: Life, created: Timestamp) -> Self {
        Self {
            spec,
            life,
            created,
            progress: None,
            log: String::new(),
            attempts: Vec::new(),
            raw: None,
        }
    }
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units that are done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One claim of a job by a worker, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which attempt, from 1. A released, throttled or postponed one gives its number back.
    pub number: u32,
    /// The fence of its claim.
    pub fence: Fence,
    /// Who ran it.
    pub worker: WorkerId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The tail of its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
}
