//! The terminal, shared between a progress display and everything else that is written while it
//! is shown.

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

use indicatif::ProgressBar;

static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// From now on, whatever is written makes way for this bar.
pub(crate) fn show(bar: ProgressBar) {
    // There is one progress display in a process.
    let _ = BAR.set(bar);
}

/// Runs `write` while no progress display is in the way.
pub(crate) fn around<R>(write: impl FnOnce() -> R) -> R {
    match BAR.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a line of talk.
pub(crate) fn talk(line: &str) {
    // Without a stderr there is nobody to tell.
    let _ = around(|| writeln!(io::stderr(), "{line}"));
}

/// Whether somebody watches stderr who can bear animation.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether what goes to `stream` may have colours.
pub(crate) fn has_colour(stream: &impl IsTerminal) -> bool {
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !asked_not_to && !dumb
}

/// Stderr for logs: a line at a time, around the progress display.
#[derive(Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a stderr there is nobody to tell; an error would end in a panic.
        let _ = around(|| io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
