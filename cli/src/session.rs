//! What a command works with: the settings, how to talk, and the way to the jobs.

use std::{sync::OnceLock, time::Duration};

use haul_producer::{Backend, Producer};

use crate::{args::Global, screen, settings::Settings};

/// How long a command that is done waits for its connections to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Session {
    /// Flags, environment and file together.
    pub(crate) settings: Settings,
    /// Print JSON.
    pub(crate) json: bool,
    quiet: bool,
    backend: OnceLock<Backend>,
}

impl Session {
    /// Settles the settings.
    ///
    /// # Errors
    /// When the settings' file is wrong.
    pub(crate) fn new(flags: &Global) -> anyhow::Result<Self> {
        Ok(Self {
            settings: Settings::load(flags)?,
            json: flags.json,
            quiet: flags.quiet,
            backend: OnceLock::new(),
        })
    }

    /// Connects to where the jobs are, unless that was done before.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) async fn connect(&self) -> anyhow::Result<Producer> {
        if let Some(backend) = self.backend.get() {
            return Ok(Producer::new(backend.clone()));
        }
        let producer = Producer::connect(self.settings.urls.clone()).await?;
        let _ = self.backend.set(producer.backend().clone());
        Ok(producer)
    }

    /// Closes what was connected.
    pub(crate) async fn close(&self) {
        if let Some(Backend { broker, store, .. }) = self.backend.get() {
            let both = async { tokio::join!(broker.close(), store.close()) };
            // Whatever was accepted is confirmed by now; closing is politeness.
            let _ = tokio::time::timeout(CLOSE_WITHIN, both).await;
        }
    }

    /// Says something to a person, unless asked to be quiet.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            screen::talk(&text.to_string());
        }
    }

    /// Whether a progress display is wanted, and bearable.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && screen::is_watched()
    }
}
