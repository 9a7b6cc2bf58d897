//! The vocabulary of Haul's tests: real servers, faults between them and us, bounded waits, and
//! the claims that every adapter must keep.
//!
//! Start with [`backends`]. Run with `tests/run`, which brings the servers.

// A helper that cannot do its part has to end the test right there, with what went wrong.
#![allow(clippy::unwrap_used)]

pub mod authority;
pub mod backends;
pub mod chaos;
#[cfg(feature = "otel")]
pub mod collector;
pub mod conformance;
pub mod fleet;
pub mod fuzz;
pub mod golden;
pub mod haul_worker;
pub mod hostile;
pub mod http;
pub mod jobs;
pub mod proxy;
pub mod raw_amqp;
pub mod receiver;
pub mod rollback;
pub mod scripted;
pub mod servers;
pub mod site;
pub mod wait;
pub mod worker_process;
