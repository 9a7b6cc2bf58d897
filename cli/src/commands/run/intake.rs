//! From items to submitted jobs.

use std::{path::PathBuf, time::Duration};

use haul_common::job::json;
use haul_producer::{
    Backoff, JobId, Producer, RedriveOutcome, Spec, StateKind, Submission, Submitted, Task,
};
use haul_worker::tasks::shell::ShellRun;

use super::identity::Identity;

/// Long enough that a run can be resumed after a week-end.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);

/// What all jobs of a run have in common.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) identity: Identity,
    pub(super) command: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) attempts: u32,
    pub(super) timeout: Option<Duration>,
    pub(super) is_resumed: bool,
}

/// What became of an item.
#[derive(Debug)]
pub(super) enum Taken {
    /// Its job is on its way. `was_running`: a process that is gone had it, maybe.
    Open {
        /// The job.
        id: JobId,
        /// The item.
        item: String,
        /// It was running when this run found it.
        was_running: bool,
    },
    /// It succeeded in an earlier run.
    DoneBefore,
    /// It could not be submitted.
    Refused {
        /// The item.
        item: String,
        /// Why.
        error: String,
    },
}

impl Intake {
    /// Submits a job for each item; one answer for each, in order.
    ///
    /// # Errors
    /// When an earlier job cannot be sent round again.
    pub(super) async fn submit(
        &mut self,
        producer: &Producer,
        items: Vec<String>,
    ) -> anyhow::Result<Vec<Taken>> {
        let jobs = items
            .iter()
            .map(|item| self.job(item))
            .collect::<anyhow::Result<_>>()?;
        let answers = producer.submit_all(jobs).await;
        let mut taken = Vec::with_capacity(items.len());
        for (item, answer) in items.into_iter().zip(answers) {
            taken.push(match answer {
                Ok(submitted) => reopen(producer, item, submitted).await?,
                Err(error) => Taken::Refused {
                    item,
                    error: error.to_string(),
                },
            });
        }
        Ok(taken)
    }

    fn job(&mut self, item: &str) -> anyhow::Result<Submission> {
        let args = ShellRun {
            command: Some(fill(&self.command, item)),
            cwd: Some(self.cwd.clone()),
            ..ShellRun::default()
        };
        let mut spec = Spec::new(
            ShellRun::NAME.parse()?,
            self.identity.queue.clone(),
            json(&args)?,
        );
        spec.id = self.identity.job(item)?;
        spec.batch = Some(self.identity.batch.clone());
        spec.tags = vec![self.identity.tag.clone()];
        spec.max_attempts = self.attempts;
        spec.backoff = Backoff::exponential(SECOND, 2.0, SECOND * 60)?;
        spec.timeout = self.timeout;
        spec.retention = Some(RETENTION);
        Ok(Submission {
            spec,
            due: None,
            chosen_id: self.is_resumed,
        })
    }
}

/// An earlier run may have left the job in any state.
async fn reopen(producer: &Producer, item: String, job: Submitted) -> anyhow::Result<Taken> {
    let Submitted { id, existing } = job;
    let was_running = existing == Some(StateKind::Running);
    match existing {
        Some(StateKind::Succeeded) => Ok(Taken::DoneBefore),
        Some(StateKind::Dead | StateKind::Cancelled) => match producer.retry(&id).await? {
            RedriveOutcome::Queued | RedriveOutcome::NotEnded(_) => Ok(Taken::Open {
                id,
                item,
                was_running,
            }),
            outcome => {
                let error = format!("the job of an earlier run cannot be retried: {outcome:?}");
                Ok(Taken::Refused { item, error })
            }
        },
        _ => Ok(Taken::Open {
            id,
            item,
            was_running,
        }),
    }
}

/// The command for an item: in the place of every `{}`, or at the end.
fn fill(command: &[String], item: &str) -> Vec<String> {
    let has_place = command.iter().any(|word| word.contains("{}"));
    let mut words: Vec<String> = command
        .iter()
        .map(|word| word.replace("{}", item))
        .collect();
    if !has_place {
        words.push(item.to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(command: &[&str]) -> Vec<String> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        fill(&command, "a b")
    }

    #[test]
    fn an_item_takes_every_place_or_goes_to_the_end() {
        assert_eq!(filled(&["cp", "{}", "{}.old"]), ["cp", "a b", "a b.old"]);
        assert_eq!(filled(&["gzip", "-9"]), ["gzip", "-9", "a b"]);
    }
}
