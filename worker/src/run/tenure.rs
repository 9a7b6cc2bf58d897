//! Whether what this worker claimed is still its own.
//!
//! A process that was frozen between a claim and the handler's first step would do what somebody else
//! has long been doing. The store refuses its end; but the effect would be there twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

use haul_common::protocol::WORKER_TTL;
use tokio::time::Instant;

/// When this worker was alive in the eyes of the others.
#[derive(Debug)]
pub(super) struct Tenure(Mutex<Beaten>);

#[derive(Debug)]
struct Beaten {
    /// When the last beat that was answered was sent.
    sent: Instant,
    /// The end of the last time when others may have taken it for dead.
    lapsed: Option<Instant>,
}

impl Tenure {
    /// Before the first beat nothing is claimed.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Beaten {
            sent: Instant::now(),
            lapsed: None,
        }))
    }

    fn beaten(&self) -> MutexGuard<'_, Beaten> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A beat that was sent at `sent` was answered at `now`; the store heard it in between.
    pub(super) fn beat(&self, sent: Instant, now: Instant) {
        let mut beaten = self.beaten();
        if is_over(beaten.sent, now) {
            beaten.lapsed = Some(now);
        }
        beaten.sent = sent;
    }

    /// Whether nobody can have taken at `now` what was `claimed` then.
    pub(super) fn holds(&self, claimed: Instant, now: Instant) -> bool {
        let beaten = self.beaten();
        !is_over(beaten.sent, now) && beaten.lapsed.is_none_or(|lapsed| lapsed < claimed)
    }
}

fn is_over(sent: Instant, now: Instant) -> bool {
    now.saturating_duration_since(sent) >= WORKER_TTL
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_claim_is_lost_with_a_pause_between_beats() {
        let tenure = Tenure::new();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        tenure.beat(at(0), at(1));
        assert!(tenure.holds(at(2), at(9)));
        assert!(!tenure.holds(at(2), at(10)), "nothing was heard since");
        tenure.beat(at(8), at(9));
        assert!(tenure.holds(at(2), at(17)));
        // Frozen while it beat: the store may have heard it before, or after.
        tenure.beat(at(9), at(18));
        assert!(!tenure.holds(at(17), at(18)));
        assert!(tenure.holds(at(19), at(18)), "claimed after that");
        tenure.beat(at(17), at(18));
        assert!(!tenure.holds(at(17), at(18)), "it stays lost");
    }
}
