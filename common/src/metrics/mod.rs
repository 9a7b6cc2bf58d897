//! Metrics: what a process counts of its work, for Prometheus.
//!
//! [`families`] owns every name, label and bucket. Whatever is counted for each job goes through
//! handles that are made once ([`QueueMeters`], [`BackendMeters`]): no lock, no allocation and no
//! look-up on a job's way. What is rare goes through functions ([`dead`], [`failed`]).
//!
//! Labels come from closed sets, or are names of queues and tasks, of which each process shows at
//! most [`NAMES_MAX`]; what it does not know is `other`. No host, no id and no text of an error is
//! ever a label.
//!
//! There is one registry in a process, as there is one in Prometheus's own libraries: several
//! workers and producers in it add up.

mod backend;
mod enqueued;
pub mod families;
mod names;
mod queue;
mod text;
mod words;

use prometheus::Registry;

pub use backend::BackendMeters;
pub(crate) use backend::{PublishMeters, TripMeters};
pub use enqueued::Enqueued;
pub use families::{Families, Family, Kind, LIST, Source};
pub use names::{NAMES_MAX, OTHER};
pub use prometheus;
pub use queue::{QueueMeters, TaskMeters};
pub use words::{FailureReason, Outcome, is_free};

use crate::job::{QueueName, Reason};

/// Whether jobs are counted. They always are, but in the binary that `bench/run-metrics` builds to
/// measure what that costs.
pub const ON: bool = option_env!("HAUL_BENCH_UNCOUNTED").is_none();

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where every family of this process is registered, to be served beside an application's own.
/// Cheap to clone.
pub fn registry() -> &'static Registry {
    &families::get().registry
}

/// Everything that this process counts, in Prometheus's text format.
pub fn text() -> Vec<u8> {
    // Fails only for a family that an application put there, and that has no name.
    let written = text::write(&registry().gather());
    written
        .inspect_err(|error| tracing::error!(%error, "the metrics cannot be written"))
        .unwrap_or_default()
}

/// A job became dead here, for this reason.
pub fn dead(queue: &QueueName, reason: Reason) {
    let queue = names::QUEUES.known(queue);
    let labels = [queue, reason.as_str()];
    families::get().dead.with_label_values(&labels).inc();
}

/// A copy of a message, or a submission that was made before, was recognised and dropped.
pub fn deduplicated(queue: &QueueName) {
    let queue = names::QUEUES.known(queue);
    families::get()
        .deduplicated
        .with_label_values(&[queue])
        .inc();
}

/// An attempt failed that this process did not run.
pub fn failed(task: &str, reason: FailureReason) {
    let task = names::TASKS.known(task);
    let labels = [task, reason.as_str()];
    families::get().failures.with_label_values(&labels).inc();
}

#[cfg(test)]
mod tests;
