//! What a job has left behind.

use haul_common::{
    job::{Attempt, Outcome, Record, State},
    life::Life,
    time::Timestamp,
};
use haul_producer::{JobId, Producer};
use haul_worker::tasks::shell::{FailedOutput, OUTPUT_STEP, ShellOutput};
use serde::Serialize;

use crate::{output, screen, view::JobView};

/// The worker keeps this much of what a command prints.
const STDOUT_BYTES_MAX: usize = 64 * 1024;

/// What a job has left behind.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) life: Life,
    /// What else is known of it; looked up only where it is asked for.
    pub(super) record: Option<Record>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// As a shell would say it; -1 where no program ended by itself.
    pub(super) code: i32,
    pub(super) signal: i32,
}

/// A job of a run, as JSON.
#[derive(Debug, Serialize)]
struct ItemView<'a> {
    item: &'a str,
    #[serde(flatten)]
    job: JobView<'a>,
}

impl Ended {
    /// Gathers what the job `id` left behind; of one that succeeded at the first try, all that is
    /// usually wanted is in its life.
    ///
    /// # Errors
    /// When the store is away, or a result is not what its task returns.
    pub(super) async fn gather(
        producer: &Producer,
        id: &JobId,
        life: Life,
        whole: bool,
    ) -> anyhow::Result<Self> {
        let mut ended = Self {
            life,
            record: None,
            stdout: String::new(),
            stderr: String::new(),
            code: 0,
            signal: 0,
        };
        let succeeded = ended.take_result();
        if whole || !succeeded || ended.life.attempt > 1 {
            ended.record = producer.find(id).await?;
        }
        if !succeeded {
            ended.find_output(producer, id).await?;
        }
        Ok(ended)
    }

    /// Whether it succeeded.
    fn take_result(&mut self) -> bool {
        let State::Succeeded { result, .. } = &self.life.state else {
            return false;
        };
        match serde_json::from_str::<ShellOutput>(result.get()) {
            Ok(output) => (self.stdout, self.stderr) = (output.stdout, output.stderr),
            // Another task: what it returned is its output.
            Err(_) if result.get() == "null" => {}
            Err(_) => self.stdout = format!("{}\n", result.get()),
        }
        true
    }

    async fn find_output(&mut self, producer: &Producer, id: &JobId) -> anyhow::Result<()> {
        let last = self.last_attempt();
        let was_stopped = last.is_none_or(|last| last.outcome != Outcome::Failed);
        let log = last.map_or_else(String::new, |last| last.log.clone());
        let kept = match was_stopped {
            // What is kept is an earlier attempt's.
            true => None,
            false => producer
                .backend()
                .store
                .saved(id)
                .await?
                .steps
                .remove(OUTPUT_STEP),
        };
        let kept = kept.and_then(|kept| serde_json::from_str::<FailedOutput>(kept.get()).ok());
        match kept {
            Some(kept) => {
                (self.code, self.signal) = (kept.exit_code, kept.signal);
                (self.stdout, self.stderr) = (kept.stdout, kept.stderr);
            }
            // Both streams, line by line.
            None => (self.code, self.stderr) = (-1, log),
        }
        Ok(())
    }

    fn last_attempt(&self) -> Option<&Attempt> {
        self.record.as_ref()?.attempts.last()
    }

    /// When its last attempt began and ended.
    pub(super) fn times(&self) -> (Timestamp, Timestamp) {
        if let Some(last) = self.last_attempt() {
            return (last.started, last.finished);
        }
        let finished = self.life.state.finished().unwrap_or_else(Timestamp::now);
        (self.life.started.unwrap_or(finished), finished)
    }

    /// Shows all that it printed, at once; with a `tag` before each line. Fails once nobody reads
    /// stdout any more.
    pub(super) fn show(&self, item: &str, tag: bool, json: bool) -> anyhow::Result<()> {
        if json {
            let Some(record) = &self.record else {
                return Ok(());
            };
            return output::json(&ItemView {
                item,
                job: record.into(),
            });
        }
        let stderr = self.stderr.trim_end();
        if !stderr.is_empty() {
            screen::talk(tagged(stderr, item, tag).trim_end());
        }
        if self.stdout.len() + 4 > STDOUT_BYTES_MAX {
            screen::talk(&format!(
                "haul: `{item}` printed more than 64 KiB; this is the end of it"
            ));
        }
        output::text(&tagged(&self.stdout, item, tag))
    }
}

fn tagged<'t>(text: &'t str, item: &str, tag: bool) -> std::borrow::Cow<'t, str> {
    if !tag {
        return text.into();
    }
    let line = |line: &str| format!("{item}\t{line}\n");
    text.lines().map(line).collect::<String>().into()
}
