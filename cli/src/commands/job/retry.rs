//! `haul job retry`

use clap::Args;
use haul_producer::{JobId, Producer, RedriveOutcome, StateKind};

use super::{
    act::{self, Done},
    select::Choice,
};
use crate::{exit::Code, session::Session};

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 5 if a job is unknown and with 6 if one is neither dead nor cancelled. A filter without
a state means dead jobs.

Examples:
  haul job retry 01980d4e-7c5a-7000-8000-000000000000
  haul job retry --filter 'queue:mail error:timeout' --yes")]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    choice: Choice,
}

/// Sends the jobs round again.
///
/// # Errors
/// When one cannot be.
pub(super) async fn run(session: &Session, args: RetryArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let ids = args
        .choice
        .settle(session, &producer, "retry", &[StateKind::Dead])
        .await?;
    act::on_each(session, ids, |id| retry(&producer, id)).await
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
