//! `haul job retry`

use clap::Args;
use haul_producer::{JobId, Producer, RedriveOutcome, StateKind};

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
send. A filter without a state means dead jobs.

Ends with 5 if a job is unknown and with 6 if one is neither dead nor cancelled.

Examples:
  haul job retry 01980d4e-7c5a-7000-8000-000000000000
  haul job retry 'queue:mail error:timeout' --dry-run
  haul job retry 'queue:mail error:timeout' --yes --rate 100/s")]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    targets: Targets,
}

/// Sends the jobs round again.
///
/// # Errors
/// When one cannot be.
pub(super) async fn run(session: &Session, args: RetryArgs) -> anyhow::Result<()> {
    let choice = args.targets.read()?;
    let producer = session.connect().await?;
    retry_chosen(session, &producer, choice).await
}

/// Sends round again what was chosen.
///
/// # Errors
/// When one cannot be.
pub(crate) async fn retry_chosen(
    session: &Session,
    producer: &Producer,
    choice: Choice,
) -> anyhow::Result<()> {
    let dead = [StateKind::Dead];
    let chosen = choice.settle(session, producer, "retry", &dead).await?;
    act::on_each(session, "retry", chosen, |id| retry(producer, id)).await
}

async fn retry(producer: &Producer, id: JobId) -> anyhow::Result<Done> {
    Ok(match producer.retry(&id).await? {
        RedriveOutcome::Queued => Done {
            outcome: "queued",
            words: "queued again".to_owned(),
            code: None,
        },
        RedriveOutcome::NotEnded(state) => Done {
            outcome: state.as_str(),
            words: format!("cannot be retried: it is {state}, neither dead nor cancelled"),
            code: Some(Code::Conflict),
        },
        RedriveOutcome::Unreadable => Done {
            outcome: "unreadable",
            words: "cannot be retried: its message could not be read; submit it anew".to_owned(),
            code: Some(Code::Conflict),
        },
        RedriveOutcome::NotFound => act::not_found(),
    })
}
