//! What a failed attempt printed. Of a failure only a message is kept; whoever wants the rest asks
//! for it, and finds it among what the job saved.

use haul_common::ports::SaveKey;
use serde::{Deserialize, Serialize};

use super::{Exit, Runner, child::Child};
use crate::Context;

/// The step that holds the output of the last attempt that failed.
pub const OUTPUT_STEP: &str = "output";
/// So much of each stream is kept: as JSON, it must fit into a step.
const BYTES_MAX: usize = 12 * 1024;

/// What a failed attempt left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedOutput {
    /// Its exit code; 128 and the signal where one ended it.
    pub exit_code: i32,
    /// The signal that ended it; 0 when it ended by itself.
    pub signal: i32,
    /// The tail of what it wrote, at most 12 KiB.
    pub stdout: String,
    /// The tail of what it complained of, at most 12 KiB.
    pub stderr: String,
}

/// Keeps what it printed, unless it succeeded.
pub(super) async fn keep(ctx: &Context<Runner>, child: &Child, exit: Exit) {
    let (exit_code, signal) = match exit {
        Exit::Code(0) => return,
        Exit::Code(code) => (code, 0),
        Exit::Signal(signal) => (128 + signal, signal),
    };
    let kept = FailedOutput {
        exit_code,
        signal,
        stdout: tail(child.stdout()),
        stderr: tail(child.stderr()),
    };
    let key = SaveKey::Step(OUTPUT_STEP.to_owned());
    if let Err(error) = ctx.core.save("its output", key, &kept).await {
        tracing::warn!(job = %ctx.id(), %error, "the output of a failed attempt is not kept");
    }
}

fn tail(mut text: String) -> String {
    let cut = text.len().saturating_sub(BYTES_MAX);
    let cut = (cut..=text.len()).find(|at| text.is_char_boundary(*at));
    text.drain(..cut.unwrap_or(0));
    text
}
