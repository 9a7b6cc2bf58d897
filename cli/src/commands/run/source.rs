//! Where items come from.

use std::{
    io::{self, BufRead, IsTerminal},
    thread,
};

use tokio::sync::mpsc;

use crate::{exit::Exit, screen};

/// Items that were read and not yet submitted: enough for a chunk, and no more, so that a million
/// lines are never all in memory.
const READ_AHEAD: usize = 1000;

/// Items as they come.
#[derive(Debug)]
pub(super) struct Source {
    /// How many there are, where that is known before the end.
    pub(super) total: Option<usize>,
    items: mpsc::Receiver<io::Result<String>>,
    is_over: bool,
}

impl Source {
    /// From the words behind `:::`, the files of a pattern, or stdin.
    ///
    /// # Errors
    /// When two of them are given, or the pattern is none.
    pub(super) fn open(words: Option<Vec<String>>, files: Option<&str>) -> anyhow::Result<Self> {
        match (words, files) {
            (Some(_), Some(_)) => Err(Exit::usage(
                "give items either behind `:::` or by --files, not both",
            )),
            (Some(words), None) => Ok(Self::of(words)),
            (None, Some(pattern)) => Ok(Self::of(expand(pattern)?)),
            (None, None) => {
                if io::stdin().is_terminal() && screen::is_watched() {
                    screen::talk(
                        "haul: reading items from the terminal, one on a line; end with Ctrl-D",
                    );
                }
                let lines = io::BufReader::new(io::stdin())
                    .lines()
                    .filter(|line| !matches!(line, Ok(text) if text.is_empty()));
                Ok(Self::read(None, lines))
            }
        }
    }

    fn of(items: Vec<String>) -> Self {
        Self::read(Some(items.len()), items.into_iter().map(Ok))
    }

    fn read(
        total: Option<usize>,
        from: impl Iterator<Item = io::Result<String>> + Send + 'static,
    ) -> Self {
        let (to, items) = mpsc::channel(READ_AHEAD);
        // A thread that nobody waits for: a read from a terminal cannot be called off.
        thread::spawn(move || {
            for item in from {
                let is_last = item.is_err();
                if to.blocking_send(item).is_err() || is_last {
                    break;
                }
            }
        });
        Self {
            total,
            items,
            is_over: false,
        }
    }

    /// What is there, at most `limit` items; nothing at the end. Loses nothing when dropped.
    pub(super) async fn next(&mut self, limit: usize) -> Vec<io::Result<String>> {
        let mut chunk = Vec::new();
        if self.items.recv_many(&mut chunk, limit).await == 0 {
            self.is_over = true;
        }
        chunk
    }

    /// There are no more.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// No more are wanted.
    pub(super) fn close(&mut self) {
        self.items.close();
        self.is_over = true;
    }
}

fn expand(pattern: &str) -> anyhow::Result<Vec<String>> {
    let wrong = |error| Exit::usage(format!("--files `{pattern}` is not a pattern: {error}"));
    let mut items = Vec::new();
    for path in glob::glob(pattern).map_err(wrong)? {
        let path = path?;
        let name = path.to_str();
        let name = name.ok_or_else(|| Exit::usage(format!("{path:?} is not UTF-8")))?;
        if path.is_file() {
            items.push(name.to_owned());
        }
    }
    items.sort();
    Ok(items)
}
