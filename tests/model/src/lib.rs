//! Model.
mod action;
mod broker;
mod compact;
mod heal;
mod model;
mod people;
mod progress;
mod rules;
mod send;
mod state;
mod store;
mod trouble;
mod worker;

pub use action::{Action, Luck};
pub use progress::{Explored, explore};
pub use rules::{Event, Rules};
pub use state::{Budget, World};
