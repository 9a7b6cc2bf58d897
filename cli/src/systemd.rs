//! What systemd hears of a worker, if it listens: ready, how it is, stopping, alive.

use std::{thread, time::Duration};

use haul_worker::Liveness;
use sd_notify::NotifyState;

/// Without a `NOTIFY_SOCKET` this does nothing; where it fails there is nobody to tell.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Every lane has its consumer.
pub(crate) fn tell_ready(consuming: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(consuming)]);
}

/// It was ready, and connects again.
pub(crate) fn tell_unready() {
    tell(&[NotifyState::Status("not every lane has its consumer")]);
}

/// It was told to stop.
pub(crate) fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Feeds the watchdog while the worker lives, from a thread that no runtime can hold up.
pub(crate) fn keep_watchdog(liveness: Liveness) {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    let feed = move || {
        loop {
            if liveness.is_alive() {
                tell(&[NotifyState::Watchdog]);
            }
            thread::sleep(patience.max(Duration::from_millis(30)) / 3);
        }
    };
    if let Err(error) = thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(feed)
    {
        tracing::warn!(%error, "no thread for the watchdog");
    }
}
