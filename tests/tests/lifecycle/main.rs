//! What becomes of jobs, from submit to end, over both pairs of backends. One file per theme.

#![allow(clippy::unwrap_used)]

mod callbacks;
mod cancel;
mod edit;
mod errand;
mod janitor;
mod lanes;
mod lease;
mod memory;
mod messages;
mod outcomes;
mod pause;
mod redrive;
mod shell;
mod spoilt;
mod stopping;
mod strangers;
mod submit;
mod tallies;
