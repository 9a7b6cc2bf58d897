//! Has the store file its records again when it may have come back with a part of a write.

use std::{sync::Arc, time::Duration};

use super::Hub;
use crate::stop::Level;

const EVERY: Duration = Duration::from_secs(3);
/// Between two slices, so that nobody waits for it.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(hub: Arc<Hub>) {
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = hub.stop.reached(Level::Quiet) => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match hub.protocol.backend().store.refile().await {
            Ok(true) => PAUSE,
            Ok(false) => EVERY,
            Err(error) => {
                tracing::debug!(%error, "the store's records could not be filed");
                EVERY
            }
        };
    }
}
