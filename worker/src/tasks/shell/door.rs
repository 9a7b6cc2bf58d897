//! Lets tests in to what reads lines of programs. Only there with the feature `faults`.

use serde_json::Value;

use super::said::Said;

/// What a program said that wrote these lines: how many of them were meant for Haul, and its result.
///
/// # Errors
/// When the result is none.
pub fn said(text: &str) -> Result<(usize, Option<Value>), String> {
    let said = Said::default();
    let heard = text
        .split('\n')
        .filter(|line| said.hear(line, |_, _, _| {}));
    let lines = heard.count();
    let result = said
        .result()
        .map_err(|failure| failure.message().to_owned())?;
    Ok((lines, result))
}
