//! `haul job cancel`

use clap::Args;
use haul_producer::{CancelOutcome, JobId, Producer, StateKind};

use super::{
    act::{self, Done},
    select::{Choice, Targets},
};
use crate::{exit::Code, session::Session};

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
With ids, says of each what came of it. With a filter, shows how many jobs match and five of them,
and asks; without a terminal it wants --yes. Then it prints a summary, and names what it could not
cancel. A filter without a state means jobs that have not ended.

Ends with 5 if a job is unknown and with 6 if one had already succeeded or died.

Examples:
  haul job cancel 01980d4e-7c5a-7000-8000-000000000000
  haul job cancel 'state:queued queue:mail' --dry-run
  haul job cancel 'queue:mail age:>1d' --yes --rate 100/s")]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    targets: Targets,
}

/// Cancels the jobs.
///
/// # Errors
/// When one cannot be cancelled.
pub(super) async fn run(session: &Session, args: CancelArgs) -> anyhow::Result<()> {
    let choice = args.targets.read()?;
    let producer = session.connect().await?;
    cancel_chosen(session, &producer, choice).await
}

/// Cancels what was chosen.
///
/// # Errors
/// When one cannot be cancelled.
pub(crate) async fn cancel_chosen(
    session: &Session,
    producer: &Producer,
    choice: Choice,
) -> anyhow::Result<()> {
    let open: Vec<_> = StateKind::ALL
        .iter()
        .copied()
        .filter(|state| !state.is_terminal())
        .collect();
    let chosen = choice.settle(session, producer, "cancel", &open).await?;
    act::on_each(session, "cancel", chosen, |id| cancel(producer, id)).await
}

/// Cancels what was chosen and has not begun.
///
/// # Errors
/// When one cannot be cancelled.
pub(crate) async fn withdraw_chosen(
    session: &Session,
    producer: &Producer,
    choice: Choice,
) -> anyhow::Result<()> {
    let chosen = choice.settle(session, producer, "cancel", &[]).await?;
    act::on_each(session, "cancel", chosen, |id| async move {
        Ok(match producer.withdraw(&id).await? {
            true => done("cancelled", "cancelled"),
            false => done("left", "has begun meanwhile"),
        })
    })
    .await
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
