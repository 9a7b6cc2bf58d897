//! The contract for clients in other languages, as machines read it.
//!
//! Both documents are put together from text, so that they are printed in the order in which they
//! are written. Tests hold them against what `decode` takes and refuses: whatever the schema takes
//! is a job, but for the few rules that its descriptions name.

#[cfg(test)]
mod tests;

use super::topology::Namespace;
use crate::job::Reason;

/// What both documents share.
const SCHEMAS: &str = include_str!("schemas.json");

/// The message of a job as JSON Schema 2020-12.
pub fn job() -> String {
    include_str!("job.json")
        .replace("\"SCHEMAS\"", &indented(SCHEMAS, 1))
        .replace("#/schemas/", "#/$defs/")
}

/// Channels and messages of a fleet as AsyncAPI 3.
pub fn asyncapi(namespace: &Namespace) -> String {
    let reasons: Vec<String> = Reason::ALL
        .iter()
        .map(|reason| format!("\"{reason}\""))
        .collect();
    include_str!("asyncapi.json")
        .replace("\"SCHEMAS\"", &indented(SCHEMAS, 2))
        .replace("\"REASONS\"", &format!("[{}]", reasons.join(", ")))
        .replace("#/schemas/", "#/components/schemas/")
        .replace("NAMESPACE", namespace.as_str())
}

/// `text` as it stands so many steps further to the right.
fn indented(text: &str, steps: usize) -> String {
    let line_end = format!("\n{}", "  ".repeat(steps));
    text.trim_end().replace('\n', &line_end)
}
