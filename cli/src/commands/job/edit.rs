//! `haul job edit`

use clap::Args;
use haul_producer::{EditOutcome, JobId, StateKind};
use serde::Serialize;

use super::push::arguments;
use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};

/// Which job, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Only a dead or a cancelled job can be edited. The message of one that waits is already with the
broker and carries the arguments that it was sent with: cancel the job, edit it, then retry it.
Checkpoint and results of steps are forgotten with the old arguments, the history of attempts is not.

Ends with 5 if the job is unknown and with 6 if it is neither dead nor cancelled.

Examples:
  haul job edit \"$id\" --args '{\"to\": \"a@example.com\"}' && haul job retry \"$id\"
  haul job show \"$id\" --json | jq '.args | .width = 320' | haul job edit \"$id\" --args -")]
pub(crate) struct EditArgs {
    /// The job's id
    id: JobId,
    /// Its new arguments: JSON, @FILE, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    args: String,
}

#[derive(Debug, Serialize)]
struct EditView<'a> {
    id: &'a JobId,
    outcome: &'static str,
}

/// Edits the job.
///
/// # Errors
/// When the arguments are wrong, or the job cannot be edited.
pub(super) async fn run(session: &Session, args: EditArgs) -> anyhow::Result<()> {
    let EditArgs { id, args } = args;
    let body = arguments(&args)?;
    let producer = session.connect().await?;
    let outcome = match producer.edit(&id, &body).await? {
        EditOutcome::Edited => "edited",
        EditOutcome::Unchanged => "unchanged",
        refused => return Err(refusal(&id, &refused)),
    };
    if session.json {
        return output::json(&EditView { id: &id, outcome });
    }
    output::line(format!("{id}  {outcome}"))?;
    session.say(format!("next: haul job retry {id}"));
    Ok(())
}

fn refusal(id: &JobId, outcome: &EditOutcome) -> anyhow::Error {
    let conflict = |why: String| Exit::with(Code::Conflict, format!("job {id} {why}"));
    match outcome {
        EditOutcome::NotEnded(StateKind::Succeeded) => {
            conflict("cannot be edited: it succeeded; submit a new one".to_owned())
        }
        EditOutcome::NotEnded(StateKind::Running) => conflict(format!(
            "cannot be edited: it runs, with the arguments that it has\n      \
             haul job cancel {id}, and once it is cancelled edit it and haul job retry {id}"
        )),
        EditOutcome::NotEnded(state) => conflict(format!(
            "cannot be edited: it is {state}, and its message, with the arguments that it has, is \
             on its way\n      haul job cancel {id}, edit it, then haul job retry {id}"
        )),
        EditOutcome::Unreadable => {
            conflict("cannot be edited: its message could not be read; submit it anew".to_owned())
        }
        EditOutcome::Invalid(error) => Exit::usage(format!("job {id} was not edited: {error}")),
        EditOutcome::NotFound | EditOutcome::Edited | EditOutcome::Unchanged => Exit::with(
            Code::NotFound,
            format!(
                "no job {id} is known: never submitted here, or forgotten since; see haul job list"
            ),
        ),
    }
}
