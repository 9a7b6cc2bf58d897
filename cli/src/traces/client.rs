//! What spans are sent with, where the collector's certificate is of an authority of one's own, or
//! where it wants to know who sends.

use std::{env, fs, thread, time::Duration};

use anyhow::Context as _;
use reqwest::{
    Certificate, Identity,
    blocking::{Client, ClientBuilder},
};

use crate::exit::Exit;

/// OpenTelemetry's own.
const TIMEOUT_MS: u64 = 10_000;

/// A client that uses the files that the environment names; nothing when it names none.
///
/// # Errors
/// When a file is not what it must be.
pub(super) fn of_environment() -> anyhow::Result<Option<Client>> {
    let authority = file("CERTIFICATE")?;
    let (own, key) = (file("CLIENT_CERTIFICATE")?, file("CLIENT_KEY")?);
    if authority.is_none() && own.is_none() && key.is_none() {
        return Ok(None);
    }
    let mut builder = Client::builder().timeout(timeout());
    if let Some((name, pem)) = authority {
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&name, &error))?;
        if certificates.is_empty() {
            return Err(wrong(&name, &"there is no certificate in it"));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder = match (own, key) {
        (Some((name, own)), Some((_, key))) => {
            let both = [own, key].join(&b'\n');
            let identity = Identity::from_pem(&both).map_err(|error| wrong(&name, &error))?;
            builder.identity(identity)
        }
        (None, None) => builder,
        (Some((name, _)), None) => return Err(wrong(&name, &"its CLIENT_KEY is not given")),
        (None, Some((name, _))) => {
            return Err(wrong(&name, &"its CLIENT_CERTIFICATE is not given"));
        }
    };
    build(builder).map(Some)
}

/// It has a runtime of its own, and must not be made within another one.
fn build(builder: ClientBuilder) -> anyhow::Result<Client> {
    let client = thread::spawn(|| builder.build()).join();
    let client = client.map_err(|_| Exit::usage("cannot send traces: no client"))?;
    client.context("cannot send traces")
}

/// The variable that is set, and what the file that it names holds.
fn file(what: &str) -> anyhow::Result<Option<(String, Vec<u8>)>> {
    let Some((name, path)) = variable(what) else {
        return Ok(None);
    };
    match fs::read(&path) {
        Ok(pem) => Ok(Some((name, pem))),
        Err(error) => Err(wrong(&name, &format!("{path}: {error}"))),
    }
}

/// What is said of traces counts before what is said of all signals.
fn variable(what: &str) -> Option<(String, String)> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
    let mut set = names.into_iter().filter_map(|start| {
        let name = format!("{start}{what}");
        let value = env::var(&name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    set.next()
}

fn timeout() -> Duration {
    let given = variable("TIMEOUT").and_then(|(_, text)| text.parse().ok());
    Duration::from_millis(given.unwrap_or(TIMEOUT_MS))
}

fn wrong(name: &str, why: &dyn std::fmt::Display) -> anyhow::Error {
    Exit::usage(format!("{name}: {why}"))
}
