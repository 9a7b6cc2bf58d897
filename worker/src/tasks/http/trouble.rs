//! Why there is no answer.

use std::{error::Error, io, time::Duration};

use haul_common::{job::Failure, time::show_duration};
use tokio_rustls::rustls;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "{host} is at {kind}: this worker calls public ones only, and hosts of its own list \
         (--http-allow, or allow in [http] of haul.toml)"
    )]
    Refused { host: String, kind: &'static str },
    #[error("{host} cannot be found")]
    Unknown { host: String, source: io::Error },
    #[error("{host} cannot be reached")]
    Unreachable { host: String, source: io::Error },
    #[error("no TLS with {host}")]
    Tls { host: String, source: io::Error },
    #[error("no whole answer came within {}", show_duration(*.0))]
    Slow(Duration),
    #[error(transparent)]
    Exchange(#[from] hyper_util::client::legacy::Error),
    #[error("the answer broke off")]
    BrokeOff(#[from] hyper::Error),
}

impl Trouble {
    /// A refusal stays one; all else may pass.
    pub(super) fn into_failure(self) -> Failure {
        // Ours come back wrapped by the pool of connections.
        let mut cause: Option<&(dyn Error + 'static)> = Some(&self);
        let mut said: Vec<String> = Vec::new();
        while let Some(error) = cause {
            if let Some(refused @ Self::Refused { .. }) = error.downcast_ref() {
                return Failure::fatal(refused);
            }
            let pool = error.is::<hyper_util::client::legacy::Error>();
            let text = error.to_string();
            if !(pool || said.last().is_some_and(|last| last.ends_with(&text))) {
                said.push(text);
            }
            said.extend(advice(error).map(str::to_owned));
            cause = error.source();
        }
        Failure::retry(said.join(": "))
    }
}

fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            Some("if its authority is your own, name it with --http-ca-file, or ca_file in [http]")
        }
        rustls::Error::AlertReceived(_) => Some(
            "if it wants to know who calls, give a certificate with --http-cert-file and \
             --http-key-file, or cert_file and key_file in [http]",
        ),
        _ => None,
    }
}
