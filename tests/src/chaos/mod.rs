//! The chaos suite: real workers and servers under a load, faults by plan, and a checker that
//! knows only what was written down outside of them.
//!
//! ```text
//!   plan (seed) --> load  --> submits.log ---.
//!               `-> faults -> faults.jsonl ---+--> checker --> verdict.json, report
//!   worker processes --> *.ledger ------------|
//!   the store, at the end --> finals.jsonl ---'
//! ```
//!
//! The command is `tests/chaos`.

pub mod act;
pub mod aof;
pub mod bugs;
pub mod checker;
pub mod cluster;
pub mod drive;
pub mod evidence;
pub mod faults;
pub mod fleet;
pub mod forms;
pub mod ledger;
pub mod load;
pub mod plan;
pub mod report;
pub mod stage;
pub mod torn;
