//! Submit jobs to Haul, follow them, and wait for their results.
//!
//! [`Producer`] is the way in; [`Submit`] the job on its way; [`Job`] the job that was accepted.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use haul_producer::{Producer, Task, Lane};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Serialize, Deserialize)]
//! struct Greet { name: String }
//! impl Task for Greet {
//!     const NAME: &'static str = "greet";
//!     type Output = String;
//! }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let haul = Producer::connect("sqlite:haul.db").await?;
//! let job = haul.submit(Greet { name: "you".into() }).lane(Lane::High).await?;
//! let greeting: String = job.wait(Duration::from_secs(20)).await?;
//! # Ok(()) }
//! ```

mod job;
mod producer;
mod submit;

pub use haul_common::{
    connect::{Backend, ConnectError, Urls},
    filter::{Filter, FilterError},
    job::{
        Attempt, Backoff, BatchId, Failure, JobId, Lane, Outcome, Progress, QueueName, Reason,
        Record, Spec, State, StateKind, Tag, Task, TaskName,
    },
    ports::{
        BatchCounts, BatchListing, Listing, PageRequest, Pause, Pauses, QueueCounts, StoreError,
        WorkerInfo,
    },
    protocol::{CancelOutcome, EditOutcome, ProtocolError, RedriveOutcome, Submission, Submitted},
    time::Timestamp,
};
pub use job::{Job, WaitError};
pub use producer::Producer;
pub use submit::{Submit, SubmitError};
