//! A worker that runs, for whoever started it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use haul_common::job::WorkerId;
use tokio::{sync::watch, task::JoinHandle};

use super::{Hub, Liveness, RunError, Status, status};
use crate::{
    io::Io,
    stop::{Level, Stop},
};

/// A worker that runs. Dropped, it ends at once, as if its process had crashed.
#[derive(Debug)]
pub struct Running {
    pub(super) hub: Arc<Hub>,
    pub(super) io: Io,
    pub(super) grace: Duration,
    pub(super) loops: JoinHandle<()>,
    pub(super) listening: Option<SocketAddr>,
}

impl Running {
    /// Waits until every lane of every queue has its consumer, or it is to stop: one that came for a
    /// few jobs may have them before its last consumer is there.
    pub async fn ready(&self) {
        tokio::select! {
            () = self.hub.readiness.ready() => {}
            () = self.hub.stop.reached(Level::Quiet) => {}
        }
    }

    /// Whether every lane of every queue has its consumer: false while it connects again, or gets
    /// nothing although there is work.
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.hub.readiness.subscribe()
    }

    /// What it is doing, as `/readyz` says it.
    pub fn status(&self) -> Status {
        status::of(&self.hub)
    }

    /// Where it answers monitors, if it does.
    pub const fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// Whether its loops turn, and whether it stops: for a watchdog.
    pub fn liveness(&self) -> Liveness {
        self.hub.liveness()
    }

    /// Its id, as in records of attempts.
    pub fn id(&self) -> &WorkerId {
        self.hub.id()
    }

    /// Starts nothing new; what runs goes on.
    pub fn quiet(&self) {
        self.hub.stop.raise(Level::Quiet);
    }

    /// Starts nothing new, lets what runs finish within the grace, then ends.
    pub fn drain(&self) {
        self.hub.stop.raise(Level::Drain);
    }

    /// Stops what runs, gives it back, and ends.
    pub fn abort(&self) {
        self.hub.stop.raise(Level::Abort);
    }

    /// Drains at the first SIGTERM or SIGINT, aborts at the second.
    pub fn stop_on_signals(&self) {
        let (stop, grace) = (self.hub.stop.clone(), self.grace);
        // Not on the application's runtime, which a handler may block.
        self.io.handle().spawn(async move {
            if let Err(error) = signals(&stop, grace).await {
                tracing::error!(%error, "signals cannot be heard");
            }
        });
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When its loops ended in another way than by a stop.
    pub async fn finished(self) -> Result<(), RunError> {
        self.loops.await.map_err(|_| RunError::Stopped)
    }
}

async fn signals(stop: &Stop, grace: Duration) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    for level in [Level::Drain, Level::Abort] {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        match level {
            Level::Drain => tracing::info!(?grace, "draining; a second signal stops what runs"),
            _ => tracing::info!("stopping what runs"),
        }
        stop.raise(level);
    }
    Ok(())
}
