//! How `http.request` calls out from a worker: flags, environment, and `[http]` in `haul.toml`.
//!
//! ```toml
//! [http]
//! allow = ["loopback", "*.inner.example", "10.1.0.0/16"]
//! sign_key_files = ["/run/secrets/haul-new", "/run/secrets/haul-old"]
//! ca_file = "/etc/haul/inner-ca.pem"
//! cert_file = "/etc/haul/worker.pem"
//! key_file = "/etc/haul/worker.key"
//! ```

use clap::Args;
use haul_worker::Http;
use serde::Deserialize;

use crate::{
    exit::Exit,
    settings::{Settings, env},
};

/// Keys to sign with: one, or the new one and the old one, with a blank between them.
const KEY: &str = "HAUL_HTTP_SIGN_KEY";

/// The part of the file that is about `http.request`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpFile {
    allow: Option<Vec<String>>,
    #[serde(default)]
    sign_key_files: Vec<String>,
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
}

/// The flags that are about `http.request`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of http.request jobs")]
pub(crate) struct HttpFlags {
    /// Let jobs call this host although its address is not public: `loopback`, a name, *.NAME, an
    /// address or a network such as 10.1.0.0/16; may be given several times [default: `loopback`
    /// when embedded in a SQLite file, else none]
    #[arg(long = "http-allow", value_name = "HOST")]
    allow: Vec<String>,
    /// Sign with the key in this file; twice, while keys are being exchanged [env:
    /// HAUL_HTTP_SIGN_KEY, the key itself]
    #[arg(long = "http-sign-key-file", value_name = "PATH")]
    sign_key_files: Vec<String>,
    /// Trust those whom this PEM file names, beside those whom this machine trusts
    #[arg(long = "http-ca-file", value_name = "PATH")]
    ca_file: Option<String>,
    /// Show this certificate (PEM) to servers that ask who calls
    #[arg(long = "http-cert-file", value_name = "PATH", requires = "key_file")]
    cert_file: Option<String>,
    /// The key (PEM) of that certificate
    #[arg(long = "http-key-file", value_name = "PATH", requires = "cert_file")]
    key_file: Option<String>,
}

/// What flags, environment and file say together.
///
/// # Errors
/// When a key cannot be read, or half of a certificate is missing.
pub(crate) fn settle(settings: &Settings, flags: HttpFlags) -> anyhow::Result<Http> {
    let file = &settings.http;
    let mut allow = flags.allow;
    if allow.is_empty() {
        // Whoever can write to a file of this host reaches its loopback anyway.
        let standard = || Vec::from_iter(settings.is_embedded().then(|| "loopback".to_owned()));
        allow = file.allow.clone().unwrap_or_else(standard);
    }
    let mut http = Http::default();
    for host in &allow {
        http = http.allow(host);
    }
    for key in keys(&flags.sign_key_files, &file.sign_key_files)? {
        http = http.sign_with(&key);
    }
    if let Some(path) = flags.ca_file.as_ref().or(file.ca_file.as_ref()) {
        http = http.authorities(path);
    }
    let (cert, key) = match flags.cert_file {
        Some(_) => (flags.cert_file, flags.key_file),
        None => (file.cert_file.clone(), file.key_file.clone()),
    };
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(http.identity(&cert, &key)),
        (None, None) => Ok(http),
        _ => Err(Exit::usage(
            "the settings' file, [http]: cert_file and key_file belong together: give both",
        )),
    }
}

fn keys(flags: &[String], file: &[String]) -> anyhow::Result<Vec<Vec<u8>>> {
    let (paths, from) = match (flags, env(KEY)) {
        ([], Some(keys)) => return Ok(keys.split_whitespace().map(Vec::from).collect()),
        ([], None) => (file, "the settings' file, [http] sign_key_files"),
        (paths, _) => (paths, "--http-sign-key-file"),
    };
    let read = |path: &String| {
        std::fs::read(path)
            .map_err(|why| Exit::usage(format!("{from}: {path} cannot be read: {why}")))
    };
    paths.iter().map(read).collect()
}
