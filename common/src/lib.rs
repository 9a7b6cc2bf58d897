//! What every part of Haul shares.
//!
//! Read in this order: [`job`] (the words), [`life`] (what may happen to a job), [`wire`] (how a
//! job travels), [`ports`] (what a broker and a store can do), [`protocol`] (the order of calls,
//! written once above the ports), then one adapter: [`sqlite`], [`rabbitmq`], [`redis`].

pub mod connect;
pub mod faults;
pub mod filter;
mod hosts;
pub mod job;
pub mod life;
pub mod metrics;
pub mod ports;
pub mod protocol;
pub mod rabbitmq;
pub mod redis;
pub mod sqlite;
pub mod time;
pub mod tls;
pub mod trace;
pub mod wire;
