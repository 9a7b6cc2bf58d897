//! `haul batch cancel` and `haul batch retry`: the jobs of a batch as the bulk that a filter means.

use clap::Args;
use haul_producer::BatchId;

use super::find;
use crate::{
    commands::job::{Bulk, cancel_chosen, retry_chosen},
    session::Session,
};

/// Which batch.
#[derive(Debug, Args)]
#[command(after_help = "\
The same as: haul job cancel batch:ID. Jobs that have ended are left as they are.

Examples:
  haul batch cancel import-7 --dry-run
  haul batch cancel import-7 --yes")]
pub(crate) struct CancelArgs {
    /// The batch
    batch: BatchId,
    #[command(flatten)]
    bulk: Bulk,
}

/// Which batch.
#[derive(Debug, Args)]
#[command(after_help = "\
The same as: haul job retry batch:ID. Only dead jobs are sent round again; for cancelled ones, run:
haul job retry batch:ID state:cancelled

Examples:
  haul batch retry import-7
  haul batch retry import-7 --yes --rate 100/s")]
pub(crate) struct RetryArgs {
    /// The batch
    batch: BatchId,
    #[command(flatten)]
    bulk: Bulk,
}

/// Cancels its jobs.
///
/// # Errors
/// When no job of it is known, or not all could be cancelled.
pub(super) async fn cancel(session: &Session, args: CancelArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    find(&producer, &args.batch).await?;
    cancel_chosen(session, &producer, args.bulk.of_batch(&args.batch)).await
}

/// Sends its dead jobs round again.
///
/// # Errors
/// When no job of it is known, or not all could be sent.
pub(super) async fn retry(session: &Session, args: RetryArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    find(&producer, &args.batch).await?;
    retry_chosen(session, &producer, args.bulk.of_batch(&args.batch)).await
}
