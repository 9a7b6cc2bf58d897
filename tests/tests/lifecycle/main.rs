//! What becomes of jobs, from submit to end, over both pairs of backends. One file per theme.

#![allow(clippy::unwrap_used)]

mod cancel;
mod janitor;
mod memory;
mod outcomes;
mod redrive;
mod submit;
