//! Who waits in this process: consumers for work, watchers for news, the scout for something to
//! look out for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::ear::Caller;
use crate::job::{JobId, QueueName};

/// Wakes one consumer.
#[derive(Debug, Default)]
pub(super) struct Wake {
    pub(super) bell: Notify,
    /// Its session was declared dead.
    pub(super) lost: AtomicBool,
}

#[derive(Debug)]
struct Waiting {
    consumer: i64,
    queue: QueueName,
    lane: i64,
    wake: Arc<Wake>,
}

/// Somebody watches; the print tells whether anything is new.
#[derive(Debug)]
struct Watched {
    tick: watch::Sender<u64>,
    print: Option<u64>,
}

impl Watched {
    fn new() -> Self {
        Self {
            tick: watch::Sender::new(0),
            print: None,
        }
    }

    fn tick(&self) {
        self.tick
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn compare(&mut self, print: u64) {
        if self.print.replace(print) != Some(print) {
            self.tick();
        }
    }
}

#[derive(Debug, Default)]
struct State {
    consumers: Vec<Waiting>,
    jobs: HashMap<JobId, Watched>,
    cancels: Option<Watched>,
    kicked: bool,
    closed: bool,
}

/// Where all who wait are known.
#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    scout: Caller,
}

/// What the scout is to look out for.
#[derive(Debug, Default)]
pub(super) struct Interests {
    pub(super) lanes: Vec<(QueueName, i64)>,
    pub(super) jobs: Vec<JobId>,
    pub(super) cancels: bool,
}

impl Hub {
    pub(super) fn new(scout: Caller) -> Self {
        Self {
            state: Mutex::default(),
            scout,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, consumer: i64, queue: &QueueName, lane: i64) -> Arc<Wake> {
        let wake = Arc::new(Wake::default());
        self.state().consumers.push(Waiting {
            consumer,
            queue: queue.clone(),
            lane,
            wake: wake.clone(),
        });
        self.kick();
        wake
    }

    pub(super) fn remove(&self, consumer: i64) {
        self.state()
            .consumers
            .retain(|waiting| waiting.consumer != consumer);
    }

    pub(super) fn has_consumers(&self) -> bool {
        !self.state().consumers.is_empty()
    }

    /// A lane has work.
    pub(super) fn wake(&self, queue: &QueueName, lane: i64) {
        for waiting in &self.state().consumers {
            if waiting.lane == lane && waiting.queue == *queue {
                waiting.wake.bell.notify_one();
            }
        }
    }

    /// The session was declared dead, and with it every consumer.
    pub(super) fn lose_all(&self) {
        for waiting in &self.state().consumers {
            waiting.wake.lost.store(true, Ordering::SeqCst);
            waiting.wake.bell.notify_one();
        }
    }

    pub(super) fn watch_job(&self, id: JobId) -> watch::Receiver<u64> {
        let mut state = self.state();
        let watched = state.jobs.entry(id).or_insert_with(Watched::new);
        let ticks = watched.tick.subscribe();
        drop(state);
        self.kick();
        ticks
    }

    pub(super) fn watch_cancels(&self) -> watch::Receiver<u64> {
        let mut state = self.state();
        let watched = state.cancels.get_or_insert_with(Watched::new);
        let ticks = watched.tick.subscribe();
        drop(state);
        self.kick();
        ticks
    }

    /// Something about a job was written here.
    pub(super) fn tick_job(&self, id: &JobId) {
        if let Some(watched) = self.state().jobs.get(id) {
            watched.tick();
        }
    }

    pub(super) fn tick_cancels(&self) {
        if let Some(watched) = &self.state().cancels {
            watched.tick();
        }
    }

    /// What the scout saw of a watched job.
    pub(super) fn saw_job(&self, id: &JobId, print: u64) {
        if let Some(watched) = self.state().jobs.get_mut(id) {
            watched.compare(print);
        }
    }

    pub(super) fn saw_cancels(&self, print: u64) {
        if let Some(watched) = &mut self.state().cancels {
            watched.compare(print);
        }
    }

    /// What is to be looked out for now; forgets watches that nobody holds any more.
    pub(super) fn interests(&self) -> Interests {
        let mut state = self.state();
        state.jobs.retain(|_, job| job.tick.receiver_count() > 0);
        state.cancels.take_if(|it| it.tick.receiver_count() == 0);
        Interests {
            lanes: state
                .consumers
                .iter()
                .map(|it| (it.queue.clone(), it.lane))
                .collect(),
            jobs: state.jobs.keys().cloned().collect(),
            cancels: state.cancels.is_some(),
        }
    }

    /// Calls the scout to look at once.
    pub(super) fn kick(&self) {
        self.state().kicked = true;
        self.scout.call();
    }

    /// For the scout: whether it was called since the last time; nothing once the file is closed.
    pub(super) fn was_kicked(&self) -> Option<bool> {
        let mut state = self.state();
        (!state.closed).then(|| std::mem::take(&mut state.kicked))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Ends scout and consumers.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for waiting in &state.consumers {
            waiting.wake.bell.notify_one();
        }
        drop(state);
        self.scout.call();
    }
}
