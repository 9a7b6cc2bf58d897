//! The janitor: takes jobs that nobody runs any more, and forgets what is over.

use std::{sync::Arc, time::Duration};

use haul_common::{job::JobId, protocol::WORKER_TTL, time::Timestamp};

use super::Hub;
use crate::stop::Level;

/// How often it looks for orphans. Looks at running jobs only, so that it costs little.
const EVERY: Duration = Duration::from_secs(2);
/// How often it forgets: every so many rounds.
const EXPIRE_ROUNDS: u32 = 15;
const AT_ONCE: usize = 500;

pub(super) async fn run(hub: Arc<Hub>) {
    let mut sleep = Sleep::new(Timestamp::now());
    for round in 0_u32.. {
        // Several janitors do not look at the same moment.
        let pause = EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(pause) => {}
        }
        let rested = sleep.is_over(Timestamp::now());
        if !rested || !hub.health.is_well() {
            continue;
        }
        let in_hand = |id: &JobId| hub.table.in_hand(id);
        if let Err(error) = hub.protocol.take_orphans(hub.id(), &in_hand, AT_ONCE).await {
            tracing::debug!(%error, "the janitor could not look for orphans");
        }
        if round % EXPIRE_ROUNDS == 0
            && let Err(error) = expire(&hub).await
        {
            tracing::debug!(%error, "the janitor could not forget what is over");
        }
    }
}

/// Whether this process was frozen, or its machine suspended: then others may have been, too, and
/// have not had the time to say that they live. Nor has this worker itself.
struct Sleep {
    last: Timestamp,
    until: Timestamp,
}

impl Sleep {
    const fn new(now: Timestamp) -> Self {
        Self {
            last: now,
            until: now,
        }
    }

    /// By the wall clock, which goes on while a machine is suspended.
    fn is_over(&mut self, now: Timestamp) -> bool {
        if now.since(self.last) > 3 * EVERY || now < self.last {
            self.until = now + WORKER_TTL;
        }
        self.last = now;
        now >= self.until
    }
}

/// In small helpings, so that nobody waits for it.
async fn expire(hub: &Hub) -> Result<(), haul_common::ports::StoreError> {
    while hub.protocol.backend().store.expire(AT_ONCE).await? == AT_ONCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_sleep_nobody_is_judged_for_a_lease() {
        let mut now = Timestamp::now();
        let mut sleep = Sleep::new(now);
        now = now + EVERY;
        assert!(sleep.is_over(now));
        now = now + Duration::from_secs(60);
        assert!(!sleep.is_over(now), "it slept");
        for _ in 0..4 {
            now = now + EVERY;
            assert!(!sleep.is_over(now), "others may have slept, too");
        }
        now = now + EVERY;
        assert!(sleep.is_over(now));
    }
}
