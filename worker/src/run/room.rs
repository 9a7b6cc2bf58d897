//! The slots of one queue on this worker, and what becomes of deliveries that wait for one.
//!
//! What waits here behind long jobs would wait for them although another worker is free. So once all
//! slots have been taken for [`FULL_AFTER`], the feeds stop and what they brought goes back. The same
//! holds while the queue is paused, only that then no slot is given either.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use super::lanes::Lanes;

/// Jobs that end sooner than this keep the next ones at hand.
const FULL_AFTER: Duration = Duration::from_secs(5);
/// Feeds that begin again bring their lanes one after the other. The highest is not to lose its turn
/// to whichever is first.
const LANES_GATHER: Duration = Duration::from_millis(50);

/// The slots of one queue.
#[derive(Debug)]
pub(super) struct Room {
    slots: Arc<Semaphore>,
    /// How many deliveries of each lane may be unsettled here.
    pub(super) prefetch: u16,
    door: watch::Sender<Door>,
}

/// What keeps the feeds from bringing more.
#[derive(Debug, Default, Clone, Copy)]
struct Door {
    full: bool,
    paused: bool,
}

impl Door {
    const fn is_open(self) -> bool {
        !self.full && !self.paused
    }
}

impl Room {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots as usize)),
            // What runs is unsettled too: with no more than that, a lane whose jobs fill all slots
            // never has its next one at hand when a slot becomes free, and a lower lane takes it.
            prefetch: u16::try_from(slots.saturating_mul(2)).unwrap_or(u16::MAX),
            door: watch::Sender::default(),
        }
    }

    /// A slot, if one is free.
    pub(super) fn free(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// The next free slot. Meanwhile, `lanes` do not keep for long what others could run.
    pub(super) async fn slot(&self, lanes: &mut Lanes) -> Option<OwnedSemaphorePermit> {
        let mut slot = std::pin::pin!(self.slots.clone().acquire_owned());
        let slot = match timeout(FULL_AFTER, &mut slot).await {
            Ok(slot) => slot,
            Err(_) => {
                self.turns_full(true);
                tokio::select! {
                    slot = &mut slot => slot,
                    () = lanes.give_back() => return None,
                }
            }
        };
        if self.turns_full(false) {
            sleep(LANES_GATHER).await;
        }
        slot.ok()
    }

    /// The queue is paused, or goes on; whether that is a change.
    pub(super) fn turns_paused(&self, paused: bool) -> bool {
        self.door
            .send_if_modified(|now| std::mem::replace(&mut now.paused, paused) != paused)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.door.borrow().paused
    }

    /// Waits until the queue is not paused.
    pub(super) async fn resumes(&self) {
        self.becomes(|now| !now.paused).await;
    }

    /// Waits until all slots have been taken for a while, or the queue is paused.
    pub(super) async fn closes(&self) {
        self.becomes(|now| !now.is_open()).await;
    }

    /// Waits until a slot is free, and the queue is not paused.
    pub(super) async fn opens(&self) {
        self.becomes(|now| now.is_open()).await;
    }

    /// Whether that is a change. Nobody is woken when it is none: this is on the way of every job.
    fn turns_full(&self, full: bool) -> bool {
        self.door
            .send_if_modified(|now| std::mem::replace(&mut now.full, full) != full)
    }

    async fn becomes(&self, so: impl Fn(Door) -> bool) {
        // The sender is in `self`, so that this cannot fail.
        let _ = self.door.subscribe().wait_for(|now| so(*now)).await;
    }
}
