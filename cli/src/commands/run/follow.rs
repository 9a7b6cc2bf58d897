//! The loop of a run: takes items in, follows their jobs, stops in good order.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use haul_common::{
    job::{Reason, StateKind},
    life::Life,
};
use haul_producer::{JobId, Producer, WorkerInfo};
use haul_worker::Running;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    display::Display,
    ended::Ended,
    halt::{Halt, How},
    intake::{Intake, Taken},
    open::{News, Open, OpenJobs},
    outlet::Outlet,
    source::{Item, Origin, Source},
    summary::Tally,
    window::Window,
};
use crate::{
    exit::{Code, Exit},
    screen::talk,
    session::Session,
    signals::Signals,
};

const DRAW: Duration = Duration::from_millis(250);
/// How often the workers are looked at, and complained of when there are none.
const LOOK: Duration = Duration::from_secs(5);
const COMPLAIN: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 64;
/// News that are heard together.
const NEWS: usize = 256;

/// What a run is asked for, but for the jobs themselves.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) window: Window,
    pub(super) delay: Duration,
    pub(super) halt: Halt,
}

/// A run in full swing.
pub(super) struct Follow<'s> {
    pub(super) session: &'s Session,
    pub(super) producer: Producer,
    pub(super) intake: Intake,
    pub(super) origin: Origin,
    pub(super) source: Source,
    pub(super) wishes: Wishes,
    pub(super) outlet: Outlet,
    pub(super) display: Display,
    /// The worker of this process; nothing where others do the work.
    pub(super) running: Option<Running>,
    pub(super) news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    pub(super) workers: Workers,
    pub(super) open: OpenJobs,
    pub(super) tally: Tally,
    pub(super) stop: Stop,
    /// Not before this time does the next job start.
    pub(super) next_start: Instant,
}

/// Workers elsewhere.
#[derive(Debug)]
pub(super) struct Workers {
    pub(super) known: Vec<WorkerInfo>,
    pub(super) looked: Instant,
    pub(super) complained: Instant,
}

/// How far the run was told to stop, and why.
#[derive(Debug, Default)]
pub(super) struct Stop {
    how: Option<How>,
    signal: Option<Code>,
    error: Option<anyhow::Error>,
}

impl Follow<'_> {
    /// Runs until every item has ended, or until told to stop.
    ///
    /// # Errors
    /// When an item failed for good, or it was told to stop.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let mut clock = interval(DRAW);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Vec::with_capacity(NEWS);
        while !(self.source.is_over() && self.open.is_empty()) {
            let room = self.room();
            let wants = room > 0 && !self.source.is_over();
            let may_start = Instant::now() >= self.next_start;
            tokio::select! {
                chunk = self.source.next(room), if wants && may_start => self.take(chunk).await?,
                _ = self.news.1.recv_many(&mut heard, NEWS) => {
                    for (id, life) in heard.drain(..) {
                        self.hear(id, life).await?;
                    }
                }
                () = sleep_until(self.next_start), if wants && !may_start => {}
                _ = clock.tick() => self.tick().await?,
                code = signals.next() => self.interrupt(code).await?,
            }
        }
        self.finish().await
    }

    /// How many items may be taken now.
    fn room(&self) -> usize {
        let room = match self.outlet.has_room() {
            true => self.wishes.window.room(self.open.len()),
            false => 0,
        };
        match self.wishes.delay.is_zero() {
            true => room,
            false => room.min(1),
        }
    }

    async fn take(&mut self, chunk: Vec<Result<Item, String>>) -> anyhow::Result<()> {
        let mut items = Vec::with_capacity(chunk.len());
        for item in chunk {
            let deed = |item: Item| match self.intake.work.of(&item) {
                Ok(deed) => Ok((item, deed)),
                Err(why) => Err(format!("{}: {why}", self.origin.place(&item))),
            };
            match item.and_then(deed) {
                Ok(both) => items.push(both),
                Err(why) => {
                    let hint = "what was read before goes on; mend it, and run again with --resume";
                    self.stop_with(Exit::with(Code::Failed, format!("{why}\n      {hint}")));
                }
            }
        }
        self.next_start = Instant::now() + self.wishes.delay;
        let shown: Vec<String> = match self.outlet.joblog {
            Some(_) => items.iter().map(|(_, deed)| deed.to_string()).collect(),
            None => vec![String::new(); items.len()],
        };
        let (items, deeds): (Vec<Item>, Vec<_>) = items.into_iter().unzip();
        let jobs = items.iter().zip(deeds).collect();
        let taken = self.intake.submit(&self.producer, jobs).await?;
        self.tally.taken += items.len();
        for ((item, shown), taken) in items.into_iter().zip(shown).zip(taken) {
            self.took(item, shown, taken).await?;
        }
        if self.source.is_over() && self.source.total.is_none() {
            self.source.total = Some(self.tally.taken);
            self.display.expect(self.tally.taken)?;
        }
        Ok(())
    }

    async fn took(&mut self, item: Item, deed: String, taken: Taken) -> anyhow::Result<()> {
        match taken {
            Taken::Open(job) => {
                let open = Open::new(item.number, item.text, deed, job.was_running);
                match self.running {
                    Some(_) => self.open.insert(job.id, open),
                    None => self.open.watch(job.id, open, &self.producer, &self.news.0),
                }
                return Ok(());
            }
            Taken::DoneBefore => self.tally.done_before += 1,
            Taken::Refused(error) => {
                self.tally.refuse(&item.text, &error);
                self.judge().await?;
            }
        }
        self.outlet.skip(&self.producer, item.number).await
    }

    /// Something happened to a job.
    async fn hear(&mut self, id: JobId, life: Life) -> anyhow::Result<()> {
        let Some(open) = self.open.get_mut(&id) else {
            return Ok(());
        };
        open.hear(&life);
        if !open.state.is_terminal() {
            return Ok(());
        }
        let is_no_fault =
            open.state == StateKind::Cancelled || life.state.reason() == Some(Reason::Crashed);
        if open.was_running && is_no_fault && self.stop.how.is_none() {
            // Its worker was a process that is gone: that is no fault of the item.
            open.was_running = false;
            open.state = StateKind::Queued;
            self.producer.retry(&id).await?;
            return Ok(());
        }
        let Some(open) = self.open.remove(&id) else {
            return Ok(());
        };
        self.end(id, open, life).await
    }

    async fn end(&mut self, id: JobId, open: Open, life: Life) -> anyhow::Result<()> {
        if open.is_stopped && open.state == StateKind::Cancelled {
            self.tally.left += 1;
            return Ok(());
        }
        let whole = self.outlet.wants_records(self.running.is_none());
        let ended = Ended::gather(&self.producer, &id, life, whole).await?;
        self.tally.add(&ended, &open.item);
        let workers = &self.workers.known;
        let put = self.outlet.put(&self.producer, id, &open, &ended, workers);
        if let Err(error) = put.await {
            self.stop_with(error);
        }
        let nobody_can = [Reason::Rejected, Reason::UnknownTask];
        if ended
            .life
            .state
            .reason()
            .is_some_and(|why| nobody_can.contains(&why))
        {
            // What holds for this one holds for all that follow.
            self.wind_down(How::Soon).await;
        }
        self.judge().await
    }

    async fn judge(&mut self) -> anyhow::Result<()> {
        let (failed, ended) = (self.tally.unsuccessful(), self.tally.ended());
        let halt = self.wishes.halt.judge(failed, ended, self.source.total);
        if let Some(how) = halt
            && self.stop.how < Some(how)
        {
            talk(&format!("haul: {failed} failed; giving up as --halt says"));
            self.wind_down(how).await;
        }
        Ok(())
    }

    fn stop_with(&mut self, error: anyhow::Error) {
        self.source.close();
        self.stop.error.get_or_insert(error);
    }

    /// Starts nothing new: what waits is called back, and `Now` what runs is stopped.
    async fn wind_down(&mut self, how: How) {
        self.stop.how = self.stop.how.max(Some(how));
        self.source.close();
        if let Some(running) = &self.running {
            running.quiet();
        }
        let producer = &self.producer;
        let ids = self.open.ids();
        let calls = stream::iter(ids).map(|id| async move {
            // What cannot be called back now ends by itself.
            let waited = match producer.withdraw(&id).await {
                Ok(false) if how == How::Now => producer.cancel(&id).await.is_err(),
                waited => waited.unwrap_or(false),
            };
            (id, waited)
        });
        let called: Vec<(JobId, bool)> = calls.buffer_unordered(AT_ONCE).collect().await;
        for (id, waited) in called {
            if waited {
                self.open.remove(&id);
                self.tally.left += 1;
            } else if let Some(open) = self.open.get_mut(&id) {
                open.is_stopped |= how == How::Now;
            }
        }
    }

    /// The first signal lets what runs finish, the second stops it, the third ends at once.
    async fn interrupt(&mut self, code: Code) -> anyhow::Result<()> {
        self.stop.signal = Some(code);
        match self.stop.how {
            None => {
                self.session.say(
                    "haul: interrupted: nothing new starts, what runs may finish; once more stops \
                     that too",
                );
                self.wind_down(How::Soon).await;
            }
            Some(How::Soon) => {
                self.session.say("haul: stopping what runs");
                self.wind_down(How::Now).await;
            }
            Some(How::Now) => return Err(Exit::with(code, "left what runs to itself")),
        }
        Ok(())
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        if self.running.is_some() {
            // What happens to a job outside of this worker is not told.
            for id in self.open.quiet() {
                if let Ok(Some(record)) = self.producer.find(&id).await {
                    self.hear(id, record.life).await?;
                }
            }
        } else {
            self.look_for_workers().await;
        }
        let (tally, total) = (&self.tally, self.source.total);
        self.display
            .draw(tally, total, &self.open, &self.producer)
            .await;
        Ok(())
    }

    /// Jobs that nobody takes are no news: says so.
    async fn look_for_workers(&mut self) {
        let now = Instant::now();
        if now < self.workers.looked + LOOK {
            return;
        }
        self.workers.looked = now;
        let Ok(known) = self.producer.workers().await else {
            return;
        };
        let queue = &self.intake.identity.queue;
        let known: Vec<_> = known
            .into_iter()
            .filter(|it| it.queues.contains_key(queue))
            .collect();
        let is_new = self.workers.known.is_empty() && !known.is_empty();
        if known.is_empty() && now >= self.workers.complained + COMPLAIN {
            self.workers.complained = now;
            talk(&format!(
                "haul: still no worker serves queue `{queue}`; the jobs wait"
            ));
        }
        if is_new {
            self.session
                .say(format!("haul: a worker serves queue `{queue}` now"));
        }
        if let Window::About(_) = self.wishes.window {
            let slots = known.iter().filter_map(|it| it.queues.get(queue));
            self.wishes.window = Window::ahead_of(slots.map(|slots| *slots as usize).sum());
        }
        // Who is gone may have done some of it: the log names its host.
        self.workers
            .known
            .retain(|old| known.iter().all(|new| new.id != old.id));
        self.workers.known.extend(known);
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        self.outlet.flush(&self.producer).await?;
        self.display.finish();
        if let Some(running) = self.running.take() {
            running.drain();
            running.finished().await?;
        }
        self.tally.tell(self.session, &self.intake.identity.batch);
        if self.stop.how.is_some() {
            let left = match self.tally.left {
                0 => "stopped".to_owned(),
                left => format!("{left} submitted items are left"),
            };
            talk(&format!(
                "haul: {left}; go on with the same command and --resume"
            ));
        }
        if let Some(code) = self.stop.signal {
            return Err(Exit::silent(code));
        }
        match self.stop.error {
            Some(error) => Err(error),
            None if self.tally.unsuccessful() > 0 => Err(Exit::silent(Code::Unsuccessful)),
            None => Ok(()),
        }
    }
}
