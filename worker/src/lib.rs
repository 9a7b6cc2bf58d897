//! Run the jobs of Haul: handlers, the loops around them, and built-in tasks.
//!
//! Read in this order: [`Worker`] (put one together), [`Context`] (what a handler sees), `run`
//! (the loops: one file each), [`tasks`] (what every worker can do).
//!
//! ```no_run
//! # use haul_worker::{Context, Failure, Task, Worker};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Serialize, Deserialize)]
//! struct Greet { name: String }
//! impl Task for Greet {
//!     const NAME: &'static str = "greet";
//!     type Output = String;
//! }
//!
//! async fn greet(_ctx: Context<()>, args: Greet) -> Result<String, Failure> {
//!     Ok(format!("hello, {}", args.name))
//! }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! Worker::connect("sqlite:haul.db").await?.queue("default", 8).handle(greet).run().await?;
//! # Ok(()) }
//! ```

mod context;
pub mod endpoint;
mod handler;
mod io;
pub mod lease;
mod memory;
mod notes;
mod run;
mod stop;
pub mod tasks;
mod worker;

pub use context::{Context, StopCause};
pub use haul_common::{
    connect::{Backend, ConnectError, Urls},
    job::{Backoff, Failure, FailureKind, JobId, Lane, QueueName, Task},
    metrics,
    time::Timestamp,
};
pub use memory::MemoryError;
pub use run::{Liveness, RunError, Running, Status};
pub use tasks::{Shell, http::Http};
pub use worker::Worker;
