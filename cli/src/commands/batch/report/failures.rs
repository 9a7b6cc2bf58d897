//! Failures, grouped by what their errors have in common.

use std::collections::HashMap;

use haul_producer::{JobId, Record, StateKind};
use serde::Serialize;

use crate::output::first_line;

/// Different errors that are told apart; whatever else comes is one group.
const GROUPS_MAX: usize = 1000;
const ERROR_MAX: usize = 200;
const OTHERS: &str = "(other errors)";

/// Failures by error.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<String, Group>);

/// Jobs whose errors are alike.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Group {
    /// What they have in common.
    pub(super) error: String,
    /// Given up on.
    pub(super) dead: u64,
    /// Failed, and to be tried again.
    pub(super) open: u64,
    /// One of them, with its own words.
    pub(super) example: JobId,
    pub(super) example_error: String,
}

impl Failures {
    /// Counts the job, if something went wrong with it that still matters.
    pub(super) fn add(&mut self, record: &Record) {
        let state = record.life.state.kind();
        let ended_otherwise = state.is_terminal() && state != StateKind::Dead;
        let Some(error) = record.life.error.as_deref().filter(|_| !ended_otherwise) else {
            return;
        };
        let mut key = alike(&first_line(error, ERROR_MAX));
        if self.0.len() >= GROUPS_MAX && !self.0.contains_key(&key) {
            OTHERS.clone_into(&mut key);
        }
        let group = self.0.entry(key).or_insert_with_key(|key| Group {
            error: key.clone(),
            dead: 0,
            open: 0,
            example: record.spec.id.clone(),
            example_error: first_line(error, ERROR_MAX),
        });
        if state == StateKind::Dead {
            group.dead += 1;
        } else {
            group.open += 1;
        }
    }

    /// The most frequent first.
    pub(super) fn sorted(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.values().cloned().collect();
        groups.sort_by(|a, b| {
            let (less, more) = (b.dead + b.open, a.dead + a.open);
            less.cmp(&more).then_with(|| a.error.cmp(&b.error))
        });
        groups
    }
}

/// Before these, a number says what went wrong.
const CODED: [&str; 6] = ["code", "status", "exit", "signal", "error", "errno"];

/// An error without what differs from job to job: numbers, ids, and what stands in quotes. A code
/// stays.
fn alike(error: &str) -> String {
    let mut text = String::with_capacity(error.len());
    let mut rest = error;
    let mut word_before = String::new();
    while let Some(next) = rest.chars().next() {
        let before = text.chars().next_back();
        let taken = match next {
            '"' | '\'' | '`' if !before.is_some_and(char::is_alphanumeric) => {
                quoted(rest, next).inspect(|_| text.extend([next, '…', next]))
            }
            _ if is_of_word(next) => {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                let word = &rest[..end];
                if is_code(&word_before, word) {
                    text.push_str(word);
                } else {
                    push_word(&mut text, word);
                }
                word_before = word.to_ascii_lowercase();
                Some(end)
            }
            _ => None,
        };
        let taken = taken.unwrap_or_else(|| {
            text.push(next);
            next.len_utf8()
        });
        rest = &rest[taken..];
    }
    text
}

/// How long a quoted part is that `text` begins with: to a quote that ends a word.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let inner = &text[1..];
    let ends = |(at, _): &(usize, &str)| {
        let after = inner[at + 1..].chars().next();
        *at > 0 && !after.is_some_and(char::is_alphanumeric)
    };
    inner.match_indices(quote).find(ends).map(|(at, _)| at + 2)
}

const fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn is_code(before: &str, word: &str) -> bool {
    let after_name = CODED.contains(&before) || before.starts_with("http");
    let named = word.to_ascii_lowercase().starts_with("http");
    named || (after_name && word.len() <= 3)
}

fn push_word(text: &mut String, word: &str) {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let is_id = (hex && word.len() >= 8 && digits > 0) || (word.len() >= 16 && digits >= 4);
    if is_id {
        text.push('#');
        return;
    }
    let mut in_number = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !in_number {
            text.push('#');
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_alike_but_for_numbers_ids_and_quotes() {
        for (one, other) in [
            ("timed out after 30s", "timed out after 5s"),
            (
                "convert: improper header `in/a.png`",
                "convert: improper header `in/b 2.png`",
            ),
            (
                "worker w-0199a1b2c3d4e5f60718293a4b5c6d7e vanished",
                "worker w-01aafffffff0e5f60718293a4b5c6d7e vanished",
            ),
            (
                "no row 01980d4e-7c5a-7000-8000-000000000000",
                "no row 01980d4e-7c5a-7000-8000-00000000abcd",
            ),
            ("can't open 'x'", "can't open 'y z'"),
        ] {
            assert_eq!(alike(one), alike(other));
        }
        assert_eq!(alike("can't open 'x'"), "can't open '…'");
        assert_eq!(alike("exit code 65 at line 7"), "exit code 65 at line #");
        assert_eq!(
            alike("http_5xx: 503, took 20 ms"),
            "http_5xx: 503, took # ms"
        );
        assert_eq!(alike("(os error 2)"), "(os error 2)");
        assert_ne!(alike("disk full"), alike("disk gone"));
        assert_eq!(alike("an unclosed 'quote"), "an unclosed 'quote");
        assert_eq!(alike("''"), "''");
        assert_eq!(alike("naïve ´é`ü"), "naïve ´é`ü");
    }
}
