//! Doing the same to many jobs, and saying of each what came of it.

use haul_producer::JobId;
use serde::Serialize;

use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};

/// What came of one job.
#[derive(Debug)]
pub(super) struct Done {
    /// In a word for scripts.
    pub(super) outcome: &'static str,
    /// In words for people.
    pub(super) words: String,
    /// What the command is to end with, if this is bad news.
    pub(super) code: Option<Code>,
}

#[derive(Debug, Serialize)]
struct DoneView<'a> {
    id: &'a JobId,
    outcome: &'a str,
}

/// Prints what came of each job, as it comes; ends with the worst.
///
/// # Errors
/// When one could not be done.
pub(super) async fn on_each<F>(
    session: &Session,
    ids: Vec<JobId>,
    act: impl Fn(JobId) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Done>>,
{
    let mut worst: Option<Code> = None;
    for id in ids {
        let done = act(id.clone()).await?;
        if session.json {
            output::json(&DoneView {
                id: &id,
                outcome: done.outcome,
            })?;
        } else {
            output::line(format!("{id}  {}", done.words))?;
        }
        worst = match (worst, done.code) {
            (Some(Code::NotFound), _) | (_, None) => worst,
            (_, code) => code,
        };
    }
    worst.map_or(Ok(()), |code| Err(Exit::silent(code)))
}

/// Nothing is known of the job.
pub(super) fn not_found() -> Done {
    Done {
        outcome: "not_found",
        words: "no such job is known".to_owned(),
        code: Some(Code::NotFound),
    }
}
