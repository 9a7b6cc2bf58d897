//! What every adapter must keep, whatever it is made of: one function for each claim, over the
//! ports alone. `tests/tests/conformance.rs` runs them over every adapter.
//!
//! Each gets a backend with nothing in it, and may use the queues of [`crate::backends::QUEUES`].

pub mod batches;
pub mod broker;
pub mod changes;
pub mod delays;
pub mod edits;
pub mod facts;
pub mod lists;
pub mod pauses;
pub mod saves;
pub mod scripts;
pub mod store;
pub mod workers;
