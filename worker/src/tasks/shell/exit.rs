//! What the end of a program means for its job: the exit protocol.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

use haul_common::job::Failure;
use nix::sys::signal::Signal;

const WORDS_MAX: usize = 500;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// The exit protocol: 0 succeeds; 64, 65, 126 and 127 are fatal (wrong usage, wrong data, not
    /// executable, not found: no retry helps); 75, every other code and every signal retry by the
    /// job's policy. `stderr` is what the program complained of: its last words are told.
    ///
    /// # Errors
    /// Unless it succeeded.
    pub fn verdict(self, stderr: &str) -> Result<(), Failure> {
        let message = || match stderr.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => {
                let words: String = line.chars().take(WORDS_MAX).collect();
                format!("{self}: {words}")
            }
            None => self.to_string(),
        };
        match self {
            Self::Code(0) => Ok(()),
            Self::Code(64 | 65 | 126 | 127) => Err(Failure::fatal(message())),
            Self::Code(_) | Self::Signal(_) => Err(Failure::retry(message())),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => match Signal::try_from(signal) {
                Ok(name) => write!(f, "killed by {name}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use haul_common::job::FailureKind;

    use super::*;

    #[test]
    fn codes_and_signals_mean_what_the_protocol_says() {
        assert!(Exit::Code(0).verdict("words").is_ok());
        for code in [64, 65, 126, 127] {
            let failure = Exit::Code(code).verdict("").unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Fatal, "{code}");
        }
        for exit in [
            Exit::Code(1),
            Exit::Code(75),
            Exit::Code(255),
            Exit::Signal(9),
        ] {
            let failure = exit.verdict("").unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Retry, "{exit}");
        }
    }

    #[test]
    fn a_failure_tells_the_last_words() {
        let failure = Exit::Code(3).verdict("first\nlast\n \n").unwrap_err();
        assert_eq!(failure.message(), "exit code 3: last");
        let failure = Exit::Signal(11).verdict("").unwrap_err();
        assert_eq!(failure.message(), "killed by SIGSEGV");
    }
}
