//! Progress and log lines of an attempt: gathered here, written now and then, and at its end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use haul_common::job::Progress;
use tokio::sync::Notify;

/// How much of a log is kept: its tail.
const LOG_BYTES_MAX: usize = 64 * 1024;
const LINE_BYTES_MAX: usize = 4 * 1024;

/// What an attempt has said so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    said: Mutex<Said>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Said {
    progress: Option<Progress>,
    log: String,
}

impl Notes {
    // A handler that panicked while it logged does not spoil what was logged.
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn progress(&self, progress: Progress) {
        self.said().progress = Some(progress);
        self.news.notify_one();
    }

    pub(crate) fn line(&self, line: &str) {
        let mut said = self.said();
        said.log.push_str(head(line, LINE_BYTES_MAX));
        said.log.push('\n');
        if said.log.len() > LOG_BYTES_MAX {
            let cut = said.log.len() - LOG_BYTES_MAX / 2;
            let cut = (cut..said.log.len()).find(|at| said.log.as_bytes()[*at] == b'\n');
            // Half is cut at a time, so that a flood of lines costs no copy for each.
            said.log.drain(..=cut.unwrap_or(0));
        }
        drop(said);
        self.news.notify_one();
    }

    /// Waits until something new was said.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn snapshot(&self) -> (Option<Progress>, String) {
        let said = self.said();
        (said.progress.clone(), said.log.clone())
    }

    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.said().log)
    }
}

/// The beginning of `text`, at most `max` bytes, cut between characters.
pub(crate) fn head(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_keeps_its_tail_in_whole_lines() {
        let notes = Notes::default();
        for n in 0..20_000 {
            notes.line(&format!("line {n}"));
        }
        let log = notes.take_log();
        assert!(log.len() <= LOG_BYTES_MAX);
        assert!(log.starts_with("line "), "{:?}", &log[..20]);
        assert!(log.ends_with("line 19999\n"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let notes = Notes::default();
        notes.line(&"é".repeat(LINE_BYTES_MAX));
        assert_eq!(notes.take_log().len(), LINE_BYTES_MAX + 1);
    }
}
