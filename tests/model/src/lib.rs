//! Model.
mod action;
mod broker;
mod compact;
mod heal;
mod model;
mod people;
mod rules;
mod send;
mod state;
mod store;
mod trouble;
mod worker;
mod progress;

pub use action::{Action, Luck};
pub use rules::{Event, Rules};
pub use state::{Budget, World};
pub use progress::{Explored, explore};
