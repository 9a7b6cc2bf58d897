//! Fuzzing within one process: every decoder, over mutated inputs, on stable Rust.
//!
//! Each input follows from a seed, the target's name and a number, so that any of them can be made
//! again. A target reads an input and accepts or refuses it; it panics when a property does not
//! hold. Read [`mutate`] (how inputs are made), [`run`] (how they are run), then the targets.

mod calls;
mod files;
mod lines;
mod messages;
mod mutate;
mod replies;
mod run;
mod texts;

pub use run::{Failure, Plan, Report, replay, run};

use self::mutate::Source;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was read, and what it says holds together.
    Accepted,
    /// It was refused, with a reason.
    Refused,
}

/// A decoder under test.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// How many of a million inputs are its own.
    pub share: u64,
    source: Source,
    read: fn(&[u8]) -> Verdict,
}

impl Target {
    /// One that reads text.
    fn of_text(
        name: &'static str,
        share: u64,
        corpus: &[&str],
        words: &'static [&'static str],
        read: fn(&[u8]) -> Verdict,
    ) -> Self {
        Self {
            name,
            share,
            source: Source::of_text(corpus, words),
            read,
        }
    }
}

/// Every target.
pub fn targets() -> Vec<Target> {
    let mut all = Vec::from(messages::targets());
    all.extend(texts::targets());
    all.extend(lines::targets());
    all.extend(calls::targets());
    all.extend(replies::targets());
    all.extend(files::targets());
    assert_eq!(
        all.iter().map(|target| target.share).sum::<u64>(),
        1_000_000
    );
    all
}

/// A refusal needs a reason, and one that fits on a screen: inputs may be large, and reasons are
/// kept and logged.
fn refused(why: &impl ToString) -> Verdict {
    let why = why.to_string();
    assert!(!why.is_empty(), "refused without a reason");
    assert!(why.len() <= 2000, "a reason of {} bytes", why.len());
    Verdict::Refused
}

fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}
