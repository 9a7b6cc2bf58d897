//! Lines on stdout that are meant for Haul: `::progress 3/10 message` and `::result {json}`.

use std::sync::{Mutex, PoisonError};

use haul_common::job::Failure;
use serde_json::Value;

/// Leaves room for the output beside it.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// The latest result that the program said, or what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Option<Result<Value, String>>>);

impl Said {
    /// Hears a line; whether it was meant for Haul.
    pub(super) fn hear(&self, line: &str, progress: impl Fn(u64, u64, &str)) -> bool {
        let line = line.trim_end_matches('\r');
        if let Some(text) = line.strip_prefix("::result ") {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result(text));
            return true;
        }
        // What is none stays in the output, where its author sees it.
        line.strip_prefix("::progress ")
            .and_then(parse_progress)
            .map(|(done, total, message)| progress(done, total, message))
            .is_some()
    }

    /// What it said.
    ///
    /// # Errors
    /// Fatal when that was no JSON, or too much.
    pub(super) fn result(&self) -> Result<Option<Value>, Failure> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone().transpose().map_err(Failure::fatal)
    }
}

fn result(text: &str) -> Result<Value, String> {
    if text.len() > RESULT_BYTES_MAX {
        return Err(format!(
            "the ::result line is over {RESULT_BYTES_MAX} bytes; say where the result is instead"
        ));
    }
    serde_json::from_str(text).map_err(|error| {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let what = error.to_string().replace(&position, "");
        let column = error.column();
        format!("the ::result line is not JSON: column {column} after `::result `: {what}")
    })
}

fn parse_progress(text: &str) -> Option<(u64, u64, &str)> {
    let (numbers, message) = text.split_once(' ').unwrap_or((text, ""));
    let (done, total) = numbers.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?, message.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_with_and_without_words() {
        let (said, told) = (Said::default(), Mutex::new(Vec::new()));
        let progress = |done, total, message: &str| {
            told.lock().unwrap().push((done, total, message.to_owned()));
        };
        assert!(said.hear("::progress 3/10 half way", progress));
        assert!(said.hear("::progress 10/10\r", progress));
        let expected = [(3, 10, "half way".to_owned()), (10, 10, String::new())];
        assert_eq!(*told.lock().unwrap(), expected);
        for other in [
            "::progress",
            "::progress x/3",
            " ::progress 1/2",
            "::progress 1 2",
            ":: a",
        ] {
            assert!(!said.hear(other, progress), "{other}");
        }
    }

    #[test]
    fn the_last_result_counts_and_a_wrong_one_names_its_place() {
        let said = Said::default();
        assert_eq!(said.result().unwrap(), None);
        assert!(said.hear("::result 1", |_, _, _| {}));
        assert!(said.hear("::result {\"a\": [1, 2]}", |_, _, _| {}));
        assert_eq!(
            said.result().unwrap(),
            Some(serde_json::json!({"a": [1, 2]}))
        );
        assert!(said.hear("::result {oops}", |_, _, _| {}));
        let failure = said.result().unwrap_err();
        assert!(
            failure.message().contains("column 2"),
            "{}",
            failure.message()
        );
        let large = format!("::result \"{}\"", "x".repeat(RESULT_BYTES_MAX));
        assert!(said.hear(&large, |_, _, _| {}));
        assert!(said.result().is_err());
    }
}
