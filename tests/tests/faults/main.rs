//! What goes wrong, and what must hold all the same. The scenarios of one test run side by side:
//! they mostly wait, for leases and time-outs.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod crash;
mod cut;
mod kill;
mod long;
mod outage;
mod protocol;
