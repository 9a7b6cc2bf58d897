//! What is shown of a job that has ended.

use haul_common::job::{Record, State};
use haul_worker::tasks::shell::ShellOutput;
use serde::Serialize;

use crate::{output, screen, view::JobView};

/// The worker keeps this much of what a command prints.
const STDOUT_BYTES_MAX: usize = 64 * 1024;

/// A job of a run, as JSON.
#[derive(Debug, Serialize)]
struct ItemView<'a> {
    item: &'a str,
    #[serde(flatten)]
    job: JobView<'a>,
}

/// Shows what the job left behind: all that it printed, at once. Says whether stdout still takes
/// anything.
pub(super) fn show(record: &Record, item: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&ItemView {
            item,
            job: record.into(),
        });
    }
    let State::Succeeded { result, .. } = &record.life.state else {
        // Of a failed attempt there is its log: both streams, line by line.
        let log = record
            .attempts
            .last()
            .map_or("", |attempt| attempt.log.trim_end());
        if !log.is_empty() {
            screen::talk(log);
        }
        return Ok(());
    };
    let output: ShellOutput = serde_json::from_str(result.get())?;
    if !output.stderr.is_empty() {
        screen::talk(output.stderr.trim_end());
    }
    if output.stdout.len() + 4 > STDOUT_BYTES_MAX {
        screen::talk(&format!(
            "haul: `{item}` printed more than 64 KiB; this is the end of it"
        ));
    }
    output::text(&output.stdout)
}
