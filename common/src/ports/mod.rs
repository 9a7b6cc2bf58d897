//! What Haul needs of a broker and of a store: two small ports, with real adapters behind them.
//! No type of a client library crosses them.

mod broker;
mod error;
mod lists;
mod liveness;
mod pause;
mod store;
mod watch;

use std::{sync::Arc, time::Duration};

pub use broker::{
    Broker, Confirm, Delivery, Fate, Inbox, LaneFacts, Publication, QueueFacts, Route, Settlement,
    Source, Verdict,
};
pub use error::{BrokerError, StoreError};
pub use lists::{BatchCounts, BatchListing, Listing, PageRequest, QueueCounts};
pub use liveness::{Beat, Pulse, WorkerInfo};
pub use pause::{Pause, Pauses};
pub use store::{
    Applied, Change, Claim, Claimed, Created, Edit, Grant, InHand, Kept, Note, Save, SaveKey,
    Saved, Store,
};
pub use watch::{Topic, Watch};

/// Something that `haul doctor` looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub subject: String,
    /// What was found; where it is not fine, what to do.
    pub detail: String,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// Works, but not as well or as safely as it could.
    Warning,
    /// Does not work, or loses jobs.
    Broken,
}

/// A broker and a store that belong together.
#[derive(Debug, Clone)]
pub struct Backend {
    /// What owns the work.
    pub broker: Arc<dyn Broker>,
    /// What is known about it.
    pub store: Arc<dyn Store>,
    /// Both are one file of this host, so that whoever can submit could as well run.
    pub embedded: bool,
}

/// A worker that has not beaten for this long is dead.
pub const WORKER_TTL: Duration = Duration::from_secs(10);

/// For so long after its last heartbeat a worker that is gone counts as lost: long enough to be seen.
pub const LOST_FOR: Duration = Duration::from_secs(100);
/// How often a worker beats.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
