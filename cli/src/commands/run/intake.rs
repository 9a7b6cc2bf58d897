//! From items to submitted jobs.

use std::{path::PathBuf, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use haul_common::job::json;
use haul_producer::{
    Backoff, Filter, JobId, Lane, PageRequest, Producer, Record, RedriveOutcome, Spec, StateKind,
    Submission, Submitted, Task,
};
use haul_worker::tasks::shell::ShellRun;

use super::{
    identity::Identity,
    source::Item,
    work::{Deed, Work},
};
use crate::traces;

/// Long enough that a run can be resumed after a week-end.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);
/// Jobs of an earlier run that are looked at together.
const AT_ONCE: usize = 64;

/// What all jobs of a run have in common.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) identity: Identity,
    pub(super) work: Work,
    pub(super) cwd: Option<PathBuf>,
    pub(super) attempts: u32,
    pub(super) timeout: Option<Duration>,
    pub(super) lane: Lane,
    pub(super) is_resumed: bool,
    /// In this process, and nobody else.
    pub(super) works_here: bool,
}

/// A job that is on its way.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: JobId,
    /// It was running when this run found it: a process that is gone had it, maybe.
    pub(super) was_running: bool,
}

/// What became of an item.
#[derive(Debug)]
pub(super) enum Taken {
    /// Its job is on its way.
    Open(Started),
    /// It succeeded in an earlier run.
    DoneBefore,
    /// It could not be submitted.
    Refused(String),
}

impl Intake {
    /// Calls back what an earlier run submitted and nobody works on: what is still among the
    /// items is sent round again when it is met, and nothing else is.
    ///
    /// # Errors
    /// When the store is away.
    pub(super) async fn call_back(&self, producer: &Producer) -> anyhow::Result<()> {
        let open = StateKind::ALL.iter().copied();
        let filter = Filter {
            batch: Some(self.identity.batch.clone()),
            states: open.filter(|state| !state.is_terminal()).collect(),
            ..Filter::default()
        };
        let mut after = None;
        loop {
            let page = PageRequest { limit: 500, after };
            let found = producer.list(&filter, page).await?;
            let each = stream::iter(found.records.iter().map(Ok::<_, anyhow::Error>));
            each.try_for_each_concurrent(AT_ONCE, |record| call_back(producer, record))
                .await?;
            after = found.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Submits a job for each item; one answer for each, in order.
    ///
    /// # Errors
    /// When an earlier job cannot be sent round again.
    pub(super) async fn submit(
        &mut self,
        producer: &Producer,
        items: Vec<(&Item, Deed)>,
    ) -> anyhow::Result<Vec<Taken>> {
        let jobs = items
            .into_iter()
            .map(|(item, deed)| self.job(item, deed))
            .collect::<anyhow::Result<_>>()?;
        let answers = producer.submit_all(jobs).await;
        let taken = stream::iter(answers).map(|answer| async move {
            match answer {
                Ok(submitted) => reopen(producer, submitted).await,
                Err(error) => Ok(Taken::Refused(error.to_string())),
            }
        });
        taken.buffered(AT_ONCE).try_collect().await
    }

    fn job(&mut self, item: &Item, deed: Deed) -> anyhow::Result<Submission> {
        let (task, args) = match deed {
            Deed::Task(task, args) => (task, args),
            Deed::Command(words) => self.shell(Some(words), None)?,
            Deed::Script(line) => self.shell(None, Some(line))?,
        };
        let id = self.identity.job(item)?;
        let mut spec = Spec::of(id, task, self.identity.queue.clone(), args);
        spec.batch = Some(self.identity.batch.clone());
        spec.tags = vec![self.identity.tag.clone()];
        spec.lane = self.lane;
        spec.max_attempts = self.attempts;
        spec.backoff = Backoff::exponential(SECOND, 2.0, SECOND * 60)?;
        spec.timeout = self.timeout;
        spec.retention = Some(RETENTION);
        spec.headers = traces::given();
        Ok(Submission {
            spec,
            due: None,
            chosen_id: self.is_resumed,
        })
    }

    fn shell(
        &self,
        command: Option<Vec<String>>,
        script: Option<String>,
    ) -> anyhow::Result<(haul_producer::TaskName, haul_common::job::Json)> {
        let args = ShellRun {
            command,
            script,
            cwd: self.cwd.clone(),
            keep_output: true,
            ..ShellRun::default()
        };
        Ok((ShellRun::NAME.parse()?, json(&args)?))
    }
}

async fn call_back(producer: &Producer, record: &Record) -> anyhow::Result<()> {
    let id = &record.spec.id;
    match record.life.state.worker() {
        None => drop(producer.withdraw(id).await?),
        Some(worker) if producer.backend().store.is_alive(worker, false).await? => {}
        Some(_) => drop(producer.cancel(id).await?),
    }
    Ok(())
}

/// An earlier run may have left the job in any state.
async fn reopen(producer: &Producer, job: Submitted) -> anyhow::Result<Taken> {
    let Submitted { id, existing } = job;
    let was_running = existing == Some(StateKind::Running);
    match existing {
        Some(StateKind::Succeeded) => return Ok(Taken::DoneBefore),
        Some(StateKind::Dead | StateKind::Cancelled) => match producer.retry(&id).await? {
            RedriveOutcome::Queued | RedriveOutcome::NotEnded(_) => {}
            outcome => {
                let why = format!("the job of an earlier run cannot be retried: {outcome:?}");
                return Ok(Taken::Refused(why));
            }
        },
        _ => {}
    }
    Ok(Taken::Open(Started { id, was_running }))
}
