//! Logs go to stderr.

use std::io;

use tracing_subscriber::{EnvFilter, fmt::time::SystemTime};

use crate::{
    exit::Exit,
    screen::{self, LogWriter},
};

/// Starts logging. A bare level is for Haul's own parts; the libraries below it stay at `warn`.
///
/// # Errors
/// When `level` is neither a level nor directives.
pub(crate) fn start(level: &str, with_time: bool) -> anyhow::Result<()> {
    let directives = match level.parse::<tracing::Level>() {
        // What a connection complains of, the adapter that has it tells in its own words.
        Ok(_) => format!("warn,lapin=off,haul={level}"),
        Err(_) => level.to_owned(),
    };
    let filter = EnvFilter::try_new(&directives).map_err(|error| {
        Exit::usage(format!(
            "cannot log `{level}`: {error}; write error, warn, info, debug or trace"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(screen::has_colour(&io::stderr()))
        .with_writer(|| LogWriter);
    // A second start, in a test, changes nothing.
    let _ = if with_time {
        builder.with_timer(SystemTime).try_init()
    } else {
        builder.without_time().with_target(false).try_init()
    };
    Ok(())
}
