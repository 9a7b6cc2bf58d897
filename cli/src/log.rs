//! Logs go to stderr, traces where the environment says.

use std::{io, str::FromStr};

use serde::Deserialize;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, fmt::time::SystemTime, layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    exit::Exit,
    screen::{self, LogWriter},
    traces::Traces,
};

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One object for each line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!(
                "`{text}` is not a format of logs; write text or json"
            )),
        }
    }
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging, and sending traces if the environment asks for them. A bare level is for Haul's
/// own parts; the libraries below it stay at `warn`.
///
/// # Errors
/// When `level` is neither a level nor directives, or the environment asks for what cannot be.
pub(crate) fn start(level: &str, format: Format, with_time: bool) -> anyhow::Result<Traces> {
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
    let traces = Traces::start()?;
    let (lines, registry) = (lines(format, with_time), tracing_subscriber::registry());
    // A second start, in a test, changes nothing.
    let _ = match traces.layer() {
        Some(spans) => registry
            .with(vec![lines.with_filter(filter).boxed(), spans])
            .try_init(),
        // Nothing else wants more than lines do: a filter of their own would cost every span.
        None => registry.with(lines).with(filter).try_init(),
    };
    traces.tell();
    Ok(traces)
}

fn lines(format: Format, with_time: bool) -> BoxedLayer {
    let lines = fmt::layer().with_writer(|| LogWriter);
    match format {
        Format::Json => {
            let json = lines.json().flatten_event(true).with_span_list(false);
            json.with_ansi(false).boxed()
        }
        Format::Text => {
            let text = lines.with_ansi(screen::has_colour(&io::stderr()));
            if with_time {
                text.with_timer(SystemTime).boxed()
            } else {
                text.without_time().with_target(false).boxed()
            }
        }
    }
}
