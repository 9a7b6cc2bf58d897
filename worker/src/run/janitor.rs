//! The janitor: takes jobs from workers that vanished, and forgets what is over.

use std::{sync::Arc, time::Duration};

use super::Hub;
use crate::stop::Level;

/// How often it looks for orphans. Looks at running jobs only, so that it costs little.
const EVERY: Duration = Duration::from_secs(2);
/// How often it forgets: every so many rounds.
const EXPIRE_ROUNDS: u32 = 15;
const AT_ONCE: usize = 500;

pub(super) async fn run(hub: Arc<Hub>) {
    for round in 0_u32.. {
        // Several janitors do not look at the same moment.
        let pause = EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(pause) => {}
        }
        if !hub.health.is_well() {
            continue;
        }
        if let Err(error) = hub.protocol.take_orphans(AT_ONCE).await {
            tracing::debug!(%error, "the janitor could not look for orphans");
        }
        if round % EXPIRE_ROUNDS == 0
            && let Err(error) = expire(&hub).await
        {
            tracing::debug!(%error, "the janitor could not forget what is over");
        }
    }
}

/// In small helpings, so that nobody waits for it.
async fn expire(hub: &Hub) -> Result<(), haul_common::ports::StoreError> {
    while hub.protocol.backend().store.expire(AT_ONCE).await? == AT_ONCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
