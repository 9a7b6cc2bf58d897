//! Ticks: somebody waits for news.

use tokio::sync::watch;

use crate::job::JobId;

/// What can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Anything about one job.
    Job(JobId),
    /// What a worker's next heartbeat will hear of: wishes that running jobs stop, queues that are
    /// paused or go on.
    Cancels,
}

/// Ticks of a topic. Dropping it ends the watch.
#[derive(Debug, Clone)]
pub struct Watch(pub watch::Receiver<u64>);

impl Watch {
    /// Waits for the next tick. Never returns once the store is closed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
