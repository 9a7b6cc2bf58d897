//! Haul's protocol as a model: one job, and everything that may happen to it, in every order.
//!
//! Every decision is made by the product's own pure code, [`haul_common::life`]: `arrive`, `judge`,
//! `settle`, `reassert`, `crash_limit_reached`, and each transition. The model adds the order of
//! calls, as in `haul_common::protocol` and the loops of a worker, one action for each call that
//! waits for a broker or a store; whoever makes it can be killed before and after.
//!
//! **What is there.** A broker that delivers in any order and again, copies messages, and loses
//! confirms of what it has and of what it has not. A store with compare-and-set that loses answers,
//! goes back to an earlier record, and loses everything. Two workers that are killed and start again
//! with a new id, that freeze until they are taken for dead and then go on, and that lose their
//! consumer. Submit, cancel, retry (two attempts), release, guard, redrive, heartbeat, janitor, and
//! the loop that sends another message for jobs without one. Each fault has a budget, so that there
//! is an end; see [`configs`].
//!
//! **What must hold, always.**
//! * Never nowhere: an accepted job is a confirmed message, an unacknowledged delivery, or a terminal
//!   record. Once the store has lost something, a record that says less than was true may stand
//!   without a message, for the healers to find; and a job that had ended may be unknown.
//! * One end for each fence. Terminal stays terminal, but for one redrive for each that was asked for.
//! * Acknowledged, then durable: whatever follows was there before, the dead letter included.
//! * Cancelled before it started, never started, unless the store forgot the cancel.
//! * An attempt never writes its end over a later fence.
//! * Nothing is taken from a worker that lives, has not seemed dead, and whose store lost nothing.
//! * Never stuck: from every state, without any further fault, the job can come to its end
//!   ([`explore`]); and where nothing more can happen, it has.
//!
//! That the model is not empty is held to as well: each [`Event`] is seen, and each of the ten bugs of
//! [`haul_common::faults::Bug`] is found when it is planted.
//!
//! **What is left out, and why that is sound enough.** Other jobs: jobs share nothing but slots, whose
//! lack only delays. Time: a message may take any time, so that delays need no clock; only what waits
//! for its own time (a retry, a scheduled job) waits for a tick. When a worker counts as dead is a
//! choice, not a computation; a worker that was itself silent judges nobody before it has beaten, as
//! its janitor sees to, and a message that was redelivered is put off no differently. Claim and the
//! question whether the owner lives are one action: what is decided from them is written by
//! compare-and-set. The heartbeat's answer is acted upon at once. Once no worker can be killed,
//! frozen or cut off any more, a delivery is settled at once. Another message for a job without one is
//! sent only if it has none: one too many is like a copy by the broker. Left out altogether: messages
//! that cannot be read or routed, deadlines, expiry of records, refused publications other than
//! unknown ones.

mod action;
mod broker;
mod compact;
pub mod configs;
mod heal;
mod model;
mod people;
mod progress;
mod report;
mod rules;
mod send;
mod state;
mod store;
mod trouble;
mod worker;

pub use action::{Action, Luck};
pub use compact::{How, Msg, Place, Rec};
pub use progress::{Explored, explore};
pub use report::{Report, check};
pub use rules::{Event, Rules};
pub use state::{Budget, World};
