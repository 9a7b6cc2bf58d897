//! The loop of a run: takes items in, follows their jobs, stops in good order.

use std::{pin::pin, time::Duration};

use haul_common::job::{Reason, Record};
use haul_producer::{JobId, Producer, WaitError};
use haul_worker::{RunError, Running, Shell, Worker};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    display::Display,
    ended,
    intake::{Intake, Taken},
    source::Source,
    summary::Tally,
};
use crate::{
    exit::{Code, Exit},
    screen::talk,
    session::Session,
    signals::Signals,
};

/// Jobs that are submitted and not ended: enough to keep every slot busy while the next chunk is
/// written.
const OPEN_MAX: usize = 2000;
const CHUNK: usize = 1000;
const DRAW: Duration = Duration::from_millis(250);
/// When no job ended for this long after the worker did, none will.
const SETTLED: Duration = Duration::from_millis(300);
/// What runs may finish, however long it takes; a second signal stops it.
const GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

/// A job that is followed.
#[derive(Debug)]
struct Open {
    id: JobId,
    item: String,
    was_running: bool,
}

type End = (Open, Result<Record, WaitError>);

/// A run in full swing.
pub(super) struct Follow<'s> {
    session: &'s Session,
    producer: Producer,
    intake: Intake,
    source: Source,
    /// Tasks of their own: what waits in turn for the store must go on while this loop does
    /// something else, or it would hold up the very call that the loop makes.
    open: JoinSet<End>,
    taken: usize,
    tally: Tally,
    display: Display,
    /// Until it is told to stop.
    running: Option<Running>,
    /// What went wrong with the items themselves.
    broken: Option<anyhow::Error>,
    is_stdout_gone: bool,
}

impl<'s> Follow<'s> {
    /// Starts the worker.
    ///
    /// # Errors
    /// When it cannot start.
    pub(super) async fn start(
        session: &'s Session,
        producer: Producer,
        intake: Intake,
        source: Source,
        slots: usize,
    ) -> anyhow::Result<Self> {
        let slots = u32::try_from(slots)?;
        let running = Worker::new(producer.backend().clone())?
            .builtins(Shell::Allowed)
            .queue(&*intake.identity.queue, slots)
            .grace(GRACE)
            .start()
            .await?;
        running.stop_on_signals();
        Ok(Self {
            display: Display::new(session.shows_progress(), source.total)?,
            session,
            producer,
            intake,
            source,
            open: JoinSet::new(),
            taken: 0,
            tally: Tally::new(),
            running: Some(running),
            broken: None,
            is_stdout_gone: false,
        })
    }

    /// Runs until every item has ended, or until told to stop.
    ///
    /// # Errors
    /// When an item failed for good, or it was told to stop.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let mut clock = interval(DRAW);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !(self.source.is_over() && self.open.is_empty()) {
            let room = OPEN_MAX.saturating_sub(self.open.len()).min(CHUNK);
            tokio::select! {
                chunk = self.source.next(room), if room > 0 && !self.source.is_over() => {
                    self.take(chunk).await?;
                }
                Some(end) = self.open.join_next() => self.end(end?).await?,
                _ = clock.tick() => self.draw().await,
                code = signals.next() => return self.interrupted(code).await,
            }
        }
        self.display.finish();
        self.stop()?.await??;
        self.tally.tell(self.session, &self.intake.identity.batch);
        match self.broken {
            Some(error) => Err(error),
            None if self.tally.unsuccessful() > 0 => Err(Exit::silent(Code::Unsuccessful)),
            None => Ok(()),
        }
    }

    async fn take(&mut self, chunk: Vec<std::io::Result<String>>) -> anyhow::Result<()> {
        let mut items = Vec::with_capacity(chunk.len());
        for item in chunk {
            match item {
                Ok(item) => items.push(item),
                Err(error) => self.broken = Some(anyhow::anyhow!("cannot read the items: {error}")),
            }
        }
        self.taken += items.len();
        for taken in self.intake.submit(&self.producer, items).await? {
            match taken {
                Taken::Open {
                    id,
                    item,
                    was_running,
                } => {
                    self.follow(Open {
                        id,
                        item,
                        was_running,
                    });
                }
                Taken::DoneBefore => self.tally.done_before += 1,
                Taken::Refused { item, error } => self.tally.refuse(&item, &error),
            }
        }
        if self.source.is_over() && self.source.total.is_none() {
            self.source.total = Some(self.taken);
            self.display.expect(self.taken)?;
        }
        Ok(())
    }

    fn follow(&mut self, open: Open) {
        let producer = self.producer.clone();
        self.open.spawn(async move {
            let end = producer.wait(&open.id, Duration::MAX).await;
            (open, end)
        });
    }

    async fn end(&mut self, (open, end): End) -> anyhow::Result<()> {
        let record = end?;
        // Its worker was a process that is gone: that is no fault of the item.
        if open.was_running && record.life.state.reason() == Some(Reason::Crashed) {
            self.producer.retry(&open.id).await?;
            self.follow(Open {
                was_running: false,
                ..open
            });
            return Ok(());
        }
        self.tally.add(&record, &open.item);
        if !self.is_stdout_gone {
            // Nobody reads any more, but the work is still wanted.
            self.is_stdout_gone = ended::show(&record, &open.item, self.session.json).is_err();
        }
        Ok(())
    }

    async fn draw(&mut self) {
        if !self.display.is_shown() {
            return;
        }
        if let Ok(counts) = self.producer.counts().await {
            let queue = &self.intake.identity.queue;
            self.display
                .count(counts.iter().find(|counts| counts.queue == *queue));
        }
        self.display.draw(&self.tally, self.source.total);
    }

    /// Tells the worker to stop; what is returned ends with it.
    fn stop(&mut self) -> anyhow::Result<JoinHandle<Result<(), RunError>>> {
        let running = self.running.take();
        let running = running.ok_or_else(|| anyhow::anyhow!("the worker was stopped before"))?;
        running.drain();
        Ok(tokio::spawn(running.finished()))
    }

    /// The worker has heard the signal too, and drains; a second one makes it abort.
    async fn interrupted(mut self, code: Code) -> anyhow::Result<()> {
        self.source.close();
        self.session.say(
            "haul: interrupted: nothing new starts, what runs may finish; once more stops that too",
        );
        let mut stopped = pin!(self.stop()?);
        let mut clock = interval(DRAW);
        loop {
            tokio::select! {
                result = &mut stopped => break result??,
                Some(end) = self.open.join_next() => self.end(end?).await?,
                _ = clock.tick() => self.draw().await,
            }
        }
        self.display.finish();
        let left = self.sweep().await?;
        self.tally.tell(self.session, &self.intake.identity.batch);
        let left = if left > 0 {
            format!("{left} submitted items are left")
        } else {
            "interrupted".to_owned()
        };
        talk(&format!(
            "haul: {left}; go on with the same command and --resume"
        ));
        Err(Exit::silent(code))
    }

    /// Shows what ended last; says how many jobs have not. The worker is gone: what has not ended
    /// by now will not.
    async fn sweep(&mut self) -> anyhow::Result<usize> {
        while let Ok(Some(end)) = tokio::time::timeout(SETTLED, self.open.join_next()).await {
            self.end(end?).await?;
        }
        Ok(self.open.len())
    }
}
