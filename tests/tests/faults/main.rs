//! What goes wrong, and what must hold all the same. The scenarios of one test run side by side:
//! they mostly wait, for leases and time-outs.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

// The longest test is in the first module, so that it starts first.
mod beyond_timeout;
mod bugs;
mod crash;
mod cut;
mod failover;
mod kill;
mod outage;
mod protocol;
mod rollback;
