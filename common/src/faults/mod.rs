//! What tests do to Haul from within: end the process at a named point, let the n-th call of a
//! broker or a store go wrong, plant a bug. Nothing of it is there unless built with the feature
//! `faults`.

#[cfg(feature = "faults")]
mod broker;
mod bugs;
#[cfg(feature = "faults")]
mod plan;
mod points;
#[cfg(feature = "faults")]
mod store;

#[cfg(feature = "faults")]
pub use self::{
    broker::FaultyBroker,
    plan::{Call, Fault, Plan},
    store::FaultyStore,
};
pub use bugs::{Bug, planted};
pub use points::point;
