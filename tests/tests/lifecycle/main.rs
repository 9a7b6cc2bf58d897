//! What becomes of jobs, from submit to end, over both pairs of backends. One file per theme.

#![allow(clippy::unwrap_used)]

mod cancel;
mod edit;
mod janitor;
mod lanes;
mod memory;
mod messages;
mod outcomes;
mod redrive;
mod stopping;
mod strangers;
mod submit;
mod tallies;
