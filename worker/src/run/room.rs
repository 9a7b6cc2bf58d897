//! The slots of one queue on this worker, and what becomes of deliveries that wait for one.
//!
//! What waits here behind long jobs would wait for them although another worker is free. So once all
//! slots have been taken for [`FULL_AFTER`], the feeds stop and what they brought goes back.

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
    full: watch::Sender<bool>,
}

impl Room {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots as usize)),
            // What runs is unsettled too: with no more than that, a lane whose jobs fill all slots
            // never has its next one at hand when a slot becomes free, and a lower lane takes it.
            prefetch: u16::try_from(slots.saturating_mul(2)).unwrap_or(u16::MAX),
            full: watch::Sender::new(false),
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
                self.turns(true);
                tokio::select! {
                    slot = &mut slot => slot,
                    () = lanes.give_back() => return None,
                }
            }
        };
        if self.turns(false) {
            sleep(LANES_GATHER).await;
        }
        slot.ok()
    }

    /// Waits until all slots have been taken for a while.
    pub(super) async fn fills(&self) {
        self.becomes(true).await;
    }

    /// Waits until a slot is free.
    pub(super) async fn opens(&self) {
        self.becomes(false).await;
    }

    /// Whether that is a change. Nobody is woken when it is none: this is on the way of every job.
    fn turns(&self, full: bool) -> bool {
        self.full
            .send_if_modified(|now| std::mem::replace(now, full) != full)
    }

    async fn becomes(&self, full: bool) {
        // The sender is in `self`, so that this cannot fail.
        let _ = self.full.subscribe().wait_for(|now| *now == full).await;
    }
}
