//! TLS towards both servers, said in one way: `?cacertfile=…&certfile=…&keyfile=…` at the end of
//! an `amqps://` or `rediss://` URL, as RabbitMQ's own URIs have it.
//!
//! `cacertfile` is who may vouch for the server, and nobody else then may; without it, it is those
//! whom this machine trusts. `certfile` and `keyfile` are how we show who we are. The name of the
//! server's certificate is checked always. The files are PEM, and are read once, at connecting.

use std::{error::Error, io, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use url::Url;

/// What a URL says of TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    /// PEM of those who may vouch for the server.
    pub(crate) authorities: Option<Vec<u8>>,
    /// PEM of our certificate, and of its key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The same, ready for use.
    pub(crate) config: Arc<ClientConfig>,
}

const PARAMETERS: [&str; 3] = ["cacertfile", "certfile", "keyfile"];

impl Tls {
    /// Takes the parameters that are about TLS out of a URL whose scheme asks for it if `wanted`,
    /// and reads the files.
    ///
    /// # Errors
    /// When a file is no good, or something is missing beside it.
    pub(crate) fn take(url: &mut Url, wanted: bool) -> Result<Option<Self>, String> {
        let [authorities, cert, key] = PARAMETERS.map(|name| parameter(url, name));
        if !wanted {
            let given = [&authorities, &cert, &key]
                .iter()
                .any(|path| path.is_some());
            return if given {
                let secure = format!("{}s", url.scheme());
                Err(format!("certificates need TLS: write {secure}://"))
            } else {
                Ok(None)
            };
        }
        remove_parameters(url);
        let roots = match &authorities {
            Some(path) => named_roots(path)?,
            None => native_roots()?,
        };
        let identity = match (&cert, &key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.as_str(), key.as_str())),
            _ => return Err("certfile and keyfile belong together: give both".to_owned()),
        };
        let config = config(roots, identity)?;
        let identity = identity.map(|(cert, key)| Ok::<_, String>((read(cert)?, read(key)?)));
        Ok(Some(Self {
            authorities: authorities.as_deref().map(read).transpose()?,
            identity: identity.transpose()?,
            config,
        }))
    }
}

/// Towards servers of other people, whom a job names: who may vouch for them is whom this machine
/// trusts, and `authorities` too. `identity` are a certificate and its key.
///
/// # Errors
/// When a file is no good.
pub fn towards_anybody(
    authorities: Option<&str>,
    identity: Option<(&str, &str)>,
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = match authorities {
        Some(path) => named_roots(path)?,
        None => RootCertStore::empty(),
    };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    config(roots, identity)
}

fn config(
    roots: RootCertStore,
    identity: Option<(&str, &str)>,
) -> Result<Arc<ClientConfig>, String> {
    // Somebody else's choice of a provider is as good; without any, TLS would panic.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| format!("{cert} and {key} do not belong together: {error}"))?,
    };
    Ok(Arc::new(config))
}

fn parameter(url: &Url, wanted: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
}

fn remove_parameters(url: &mut Url) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !PARAMETERS.contains(&&**name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !others.is_empty() {
        url.query_pairs_mut().extend_pairs(others);
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path} cannot be read: {error}"))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{path} holds no certificate in PEM form")),
    }
}

fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| format!("{path} holds no private key in PEM form, or one with a password"))
}

fn named_roots(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{path} holds a certificate that is no good: {error}"))?;
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this machine trusts nobody: install ca-certificates, or name the server's \
                    own authority: ?cacertfile=PATH"
                .to_owned(),
        );
    }
    Ok(roots)
}

/// What to do about an error, if it is one of TLS.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    let inner: &(dyn Error + 'static) = error.get_ref()?;
    // A client library may have put one into another.
    if let Some(error) = inner.downcast_ref::<io::Error>() {
        return advice(error);
    }
    Some(match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => {
                "name the authority that signed it: ?cacertfile=PATH"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "write the host's name as it stands in its certificate"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "renew the server's certificate, or set this machine's clock"
            }
            _ => "look at the server's certificate",
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants to know who we are: ?certfile=PATH&keyfile=PATH"
        }
        rustls::Error::AlertReceived(_) => {
            "if it wants to know who we are, give a certificate that it trusts: \
             ?certfile=PATH&keyfile=PATH"
        }
        rustls::Error::InvalidMessage(_) => "does this port speak TLS?",
        _ => return None,
    })
}

/// What to do about a line that was cut. A server that does not want us ends the connection right behind
/// its alert, and what we send meanwhile makes that arrive as a reset, without the alert.
fn advice_when_cut(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let cut = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    cut.contains(&error.kind()).then_some(
        "a server also does this to whoever it does not know: ?certfile=PATH&keyfile=PATH",
    )
}

/// A text about an error of the connection to `at`, with what to do about it.
pub(crate) fn explained(at: &str, why: String, cause: Option<&io::Error>) -> String {
    let encrypted = ["amqps:", "rediss:", "rediss+", "https:"];
    let encrypted = encrypted.iter().any(|scheme| at.starts_with(scheme));
    let when_cut = |error| advice_when_cut(error).filter(|_| encrypted);
    match cause.and_then(|error| advice(error).or_else(|| when_cut(error))) {
        Some(advice) => format!("{why}; {advice}"),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_tells_of_certificates_only_where_there_are_some() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let said = |at| explained(at, "reset".to_owned(), Some(&reset));
        assert!(said("amqps://host:5671/").contains("?certfile=PATH&keyfile=PATH"));
        assert!(said("rediss://host:6379/0").contains("?certfile=PATH&keyfile=PATH"));
        assert_eq!(said("amqp://host:5672/"), "reset");
    }

    fn refused(url: &str, wanted: bool) -> String {
        let mut url = Url::parse(url).unwrap();
        Tls::take(&mut url, wanted).err().unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let (missing, empty) = ("/nowhere/ca.pem", "/dev/null");
        for path in [missing, empty] {
            let why = refused(&format!("amqps://host/?cacertfile={path}"), true);
            assert!(why.starts_with(path), "{why}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_tls() {
        let why = refused("rediss://host/?certfile=/dev/null", true);
        assert!(why.contains("give both"), "{why}");
        let why = refused("redis://host/?cacertfile=/dev/null", false);
        assert!(why.contains("write rediss://"), "{why}");
    }

    #[test]
    fn other_parameters_stay() {
        let mut url = Url::parse("amqps://host/v?heartbeat=3&certfile=a").unwrap();
        remove_parameters(&mut url);
        assert_eq!(url.as_str(), "amqps://host/v?heartbeat=3");
        remove_parameters(&mut url);
        assert_eq!(url.as_str(), "amqps://host/v?heartbeat=3");
    }
}
