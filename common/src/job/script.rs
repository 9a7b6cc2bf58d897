//! Scripts that are stored by name, so that a job need only carry the name and its arguments.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::names::ScriptName;
use crate::time::Timestamp;

/// Largest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// How many versions of a script are kept; the one that was added first gives way.
pub const SCRIPT_VERSIONS_KEPT: usize = 10;

const DEFAULT: &str = "/bin/sh";
const DIGITS: usize = 64;

/// A script. Its version says what it does: the same text is the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What jobs call it.
    pub name: ScriptName,
    /// The digest of its text.
    pub version: ScriptVersion,
    /// When this version was last added.
    pub added: Timestamp,
    /// What it does.
    pub text: String,
}

/// The SHA-256 of a script's text, in hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScriptVersion(String);

/// Text that is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Too much.
    #[error(
        "it is {0} bytes, the limit is {SCRIPT_BYTES_MAX}; install what is large on the workers, \
         and store a script that calls it"
    )]
    TooLarge(usize),
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// A program, perhaps.
    #[error("byte {0} is NUL, so that it is no text; store a script that calls the program")]
    Nul(usize),
    /// It says what runs it, and that cannot be.
    #[error(
        "line 1 names `{0}` as its interpreter; write a whole path, such as #!/bin/sh or \
         #!/usr/bin/env python3"
    )]
    Interpreter(String),
    /// Not a digest.
    #[error(
        "`{0}` is not a version: it must be the {DIGITS} hexadecimal digits that `haul script add` \
         and `haul script list --json` print"
    )]
    Version(String),
}

impl Script {
    /// Checks the text, and takes its digest.
    ///
    /// # Errors
    /// When it is no text, or is not fit to be a script.
    pub fn new(name: ScriptName, text: String, added: Timestamp) -> Result<Self, ScriptError> {
        if text.len() > SCRIPT_BYTES_MAX {
            return Err(ScriptError::TooLarge(text.len()));
        }
        if text.trim().is_empty() {
            return Err(ScriptError::Empty);
        }
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            return Err(ScriptError::Nul(at));
        }
        let script = Self {
            name,
            version: ScriptVersion::of(&text),
            added,
            text,
        };
        let interpreter = script.interpreter().0;
        if !interpreter.starts_with('/') {
            return Err(ScriptError::Interpreter(interpreter.to_owned()));
        }
        Ok(script)
    }

    /// What runs it, and the one argument that its first line may have, as the kernel reads
    /// `#!`. A script without such a line is one for `/bin/sh`.
    pub fn interpreter(&self) -> (&str, Option<&str>) {
        let Some(line) = self.text.strip_prefix("#!") else {
            return (DEFAULT, None);
        };
        let line = line.lines().next().unwrap_or_default().trim();
        match line.split_once([' ', '\t']) {
            Some((interpreter, argument)) => (interpreter, Some(argument.trim())),
            None => (line, None),
        }
    }
}

impl ScriptVersion {
    /// The version of this text.
    pub fn of(text: &str) -> Self {
        Self(format!("{:x}", Sha256::digest(text)))
    }

    /// Enough of it to tell versions apart.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScriptVersion {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScriptError::Version(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for ScriptVersion {
    type Error = ScriptError;

    fn try_from(text: String) -> Result<Self, ScriptError> {
        text.parse()
    }
}

impl From<ScriptVersion> for String {
    fn from(version: ScriptVersion) -> Self {
        version.0
    }
}

impl fmt::Display for ScriptVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ScriptVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Result<Script, ScriptError> {
        Script::new("x".parse().unwrap(), text.to_owned(), Timestamp::default())
    }

    #[test]
    fn the_first_line_says_what_runs_it() {
        for (text, interpreter, argument) in [
            ("echo", "/bin/sh", None),
            ("#!/bin/bash\necho", "/bin/bash", None),
            (
                "#! /usr/bin/env  python3 -u \r\nx",
                "/usr/bin/env",
                Some("python3 -u"),
            ),
            ("#!/bin/sh -e", "/bin/sh", Some("-e")),
        ] {
            let script = script(text).unwrap();
            assert_eq!(script.interpreter(), (interpreter, argument), "{text}");
        }
    }

    #[test]
    fn what_is_no_script_is_refused() {
        assert_eq!(script(" \n"), Err(ScriptError::Empty));
        assert_eq!(script("ab\0"), Err(ScriptError::Nul(2)));
        let large = "x".repeat(SCRIPT_BYTES_MAX + 1);
        assert_eq!(
            script(&large),
            Err(ScriptError::TooLarge(SCRIPT_BYTES_MAX + 1))
        );
        for text in ["#!python3\n", "#!\n", "#! \n x"] {
            assert!(
                matches!(script(text), Err(ScriptError::Interpreter(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_version_is_the_digest_of_the_text() {
        let version = script("echo").unwrap().version;
        assert_eq!(version, ScriptVersion::of("echo"));
        assert_eq!(version.as_str().parse(), Ok(version.clone()));
        assert!(version.short().parse::<ScriptVersion>().is_err());
    }
}
