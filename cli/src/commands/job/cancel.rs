//! `haul job cancel`

use clap::Args;
use haul_producer::{CancelOutcome, JobId, Producer, StateKind};

use super::{
    act::{self, Done},
    select::Choice,
};
use crate::{exit::Code, session::Session};

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 5 if a job is unknown and with 6 if one had already succeeded or died. A filter without
a state means jobs that have not ended.

Examples:
  haul job cancel 01980d4e-7c5a-7000-8000-000000000000
  haul job cancel --filter 'queue:mail age:>1d' --dry-run
  haul job cancel --filter 'batch:import-7' --yes")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    choice: Choice,
}

/// Cancels the jobs.
///
/// # Errors
/// When one cannot be cancelled.
pub(super) async fn run(session: &Session, args: CancelArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let open: Vec<_> = StateKind::ALL
        .iter()
        .copied()
        .filter(|state| !state.is_terminal())
        .collect();
    let ids = args
        .choice
        .settle(session, &producer, "cancel", &open)
        .await?;
    act::on_each(session, ids, |id| cancel(&producer, id)).await
}

async fn cancel(producer: &Producer, id: JobId) -> anyhow::Result<Done> {
    Ok(match producer.cancel(&id).await? {
        CancelOutcome::Cancelled => done("cancelled", "cancelled"),
        CancelOutcome::Requested => done("requested", "runs; its handler is told to stop"),
        CancelOutcome::Ended(StateKind::Cancelled) => done("cancelled", "was cancelled already"),
        CancelOutcome::Ended(state) => Done {
            outcome: state.as_str(),
            words: format!("cannot be cancelled: it is {state}"),
            code: Some(Code::Conflict),
        },
        CancelOutcome::NotFound => act::not_found(),
    })
}

fn done(outcome: &'static str, words: &str) -> Done {
    Done {
        outcome,
        words: words.to_owned(),
        code: None,
    }
}
