//! From URLs to a broker and a store.

use std::sync::Arc;

use crate::ports::{Broker, Store};

/// A broker and a store that belong together.
#[derive(Debug, Clone)]
pub struct Backend {
    /// What owns the work.
    pub broker: Arc<dyn Broker>,
    /// What is known about it.
    pub store: Arc<dyn Store>,
}
