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
        // Ours come back wrapped by the pool of connections, whose own words add nothing.
        let mut cause: Option<&(dyn Error + 'static)> = match &self {
            Self::Exchange(error) if error.source().is_some() => error.source(),
            _ => Some(&self),
        };
        let mut said = String::new();
        while let Some(error) = cause {
            if let Some(refused @ Self::Refused { .. }) = error.downcast_ref() {
                return Failure::fatal(refused);
            }
            let text = error.to_string();
            // A wrapper may have said it already.
            if !said.ends_with(&text) {
                said.push_str(if said.is_empty() { "" } else { ": " });
                said.push_str(&text);
            }
            if let Some(advice) = advice(error) {
                said.push_str("; ");
                said.push_str(advice);
            }
            cause = error.source();
        }
        Failure::retry(said)
    }
}

fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            Some("if its authority is your own, name it with --http-ca-file, or ca_file in [http]")
        }
        rustls::Error::InvalidMessage(_) => Some("does this port speak TLS?"),
        rustls::Error::AlertReceived(_) => Some(
            "if it wants to know who calls, give a certificate with --http-cert-file and \
             --http-key-file, or cert_file and key_file in [http]",
        ),
        _ => None,
    }
}
