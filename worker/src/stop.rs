//! How a worker stops: quiet, drain, abort. The same three words in code, commands and logs.

use std::sync::Arc;

use tokio::sync::watch;

/// How far a stop has come. It only goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Not at all.
    Run,
    /// Nothing new is started.
    Quiet,
    /// What runs may finish, within the grace.
    Drain,
    /// What runs is stopped and given back.
    Abort,
}

#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<watch::Sender<Level>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Level::Run)))
    }

    pub(crate) fn raise(&self, level: Level) {
        self.0.send_if_modified(|now| {
            let higher = level > *now;
            *now = level.max(*now);
            higher
        });
    }

    /// Whether the stop has come this far.
    pub(crate) fn has_reached(&self, level: Level) -> bool {
        *self.0.borrow() >= level
    }

    /// Waits until the stop has come this far.
    pub(crate) async fn reached(&self, level: Level) {
        let mut watch = self.0.subscribe();
        // The sender is in `self`, so that this cannot fail.
        let _ = watch.wait_for(|now| *now >= level).await;
    }
}
