//! `haul queue purge`

use clap::Args;
use haul_producer::QueueName;

use crate::{
    commands::job::{Bulk, withdraw_chosen},
    session::Session,
};

/// Which queue.
#[derive(Debug, Args)]
#[command(after_help = "\
Cancels the jobs of the queue that are queued: each ends as cancelled, and can be sent round again
with haul job retry. Those that begin to run meanwhile go on; those that wait for a time of their own
(scheduled, retrying) stay: haul job cancel queue:NAME is for all.

Shows how many there are and five of them, and asks; without a terminal it wants --yes. Their
messages leave the broker when a worker comes to them, so that READY falls later, and not while the
queue is paused. A message of another client that no worker has looked at is no known job yet, and
stays.

Examples:
  haul queue purge mail --dry-run
  haul queue purge mail --yes
  haul job retry state:cancelled queue:mail --dry-run")]
pub(crate) struct PurgeArgs {
    /// The queue
    queue: QueueName,
    #[command(flatten)]
    bulk: Bulk,
}

/// Cancels what waits in it.
///
/// # Errors
/// When nobody said yes, or not all could be cancelled.
pub(super) async fn run(session: &Session, args: PurgeArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    withdraw_chosen(session, &producer, args.bulk.of_queued(&args.queue)).await
}
