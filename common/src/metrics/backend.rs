//! What an adapter counts.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Instant,
};

use prometheus::{Histogram, IntCounter};

use super::{ON, families};
use crate::ports::Confirm;

/// Handles for one connection to a backend, or for the file that is one.
#[derive(Debug)]
pub struct BackendMeters {
    backend: &'static str,
    connection: &'static str,
    reconnects: IntCounter,
    state: AtomicU8,
}

const NEW: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

impl BackendMeters {
    /// For a connection to this backend, by what it is for.
    pub fn new(backend: &'static str, connection: &'static str) -> Self {
        let of = families::get();
        Self {
            backend,
            connection,
            reconnects: of.reconnects.with_label_values(&[backend, connection]),
            state: AtomicU8::new(NEW),
        }
    }

    /// It answers.
    pub fn up(&self) {
        let before = self.state.swap(UP, Ordering::Relaxed);
        if before != UP {
            self.show(1.0);
        }
        if before == DOWN {
            self.reconnects.inc();
        }
    }

    /// It does not.
    pub fn down(&self) {
        if self.state.swap(DOWN, Ordering::Relaxed) != DOWN {
            self.show(0.0);
        }
    }

    fn show(&self, value: f64) {
        let connected = &families::get().connected;
        connected
            .with_label_values(&[self.backend, self.connection])
            .set(value);
    }

    /// It was closed by this process: whether it answers is no longer a question.
    pub fn closed(&self) {
        let labels = [self.backend, self.connection];
        // Not there when it never answered.
        let _ = families::get().connected.remove_label_values(&labels);
    }
}

/// Handles for what a broker confirms.
#[derive(Debug)]
pub(crate) struct PublishMeters {
    until_confirm: Histogram,
    refused: IntCounter,
    unknown: IntCounter,
}

impl PublishMeters {
    pub(crate) fn new(backend: &'static str) -> Self {
        let of = families::get();
        let failures = |reason| of.publish_failures.with_label_values(&[backend, reason]);
        Self {
            until_confirm: of.publish.with_label_values(&[backend]),
            refused: failures("refused"),
            unknown: failures("unknown"),
        }
    }

    /// These confirms came for what was given to it at `since`.
    pub(crate) fn confirmed(&self, since: Instant, confirms: &[Confirm]) {
        if !ON {
            return;
        }
        self.until_confirm.observe(since.elapsed().as_secs_f64());
        for confirm in confirms {
            match confirm {
                Confirm::Accepted => {}
                Confirm::Refused(_) => self.refused.inc(),
                Confirm::Unknown(_) => self.unknown.inc(),
            }
        }
    }
}

/// Handles for round trips to a store.
#[derive(Debug)]
pub(crate) struct TripMeters {
    took: Histogram,
    errors: IntCounter,
}

impl TripMeters {
    pub(crate) fn new(backend: &'static str, op: &'static str) -> Self {
        let of = families::get();
        Self {
            took: of.trips.with_label_values(&[backend, op]),
            errors: of.store_errors.with_label_values(&[backend]),
        }
    }

    /// One that set out at `since` is over.
    pub(crate) fn over(&self, since: Instant, worked: bool) {
        if !ON {
            return;
        }
        self.took.observe(since.elapsed().as_secs_f64());
        if !worked {
            self.failed();
        }
    }

    /// One could not even set out.
    pub(crate) fn failed(&self) {
        self.errors.inc();
    }
}
