//! Where the broker is: a URL whose password never shows.

use std::{fmt, sync::Arc};

use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::ClientConfig;
use url::{Host, Url};

use crate::{ports::BrokerError, tls::Tls};

/// Seconds between heartbeats; a dead peer is noticed after two. The server's own default is 60.
const HEARTBEAT_S: u16 = 10;

/// A broker's URL. Shows as scheme, host, port and virtual host.
#[derive(Clone)]
pub(super) struct Address {
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, BrokerError> {
        // The text is not repeated: it may hold a password.
        let failed = |why: String| BrokerError::Failed {
            at: "the given URL".to_owned(),
            why,
        };
        let wrong = |why: String| {
            failed(format!(
                "{why}; it must look like amqp://user:password@host:5672/vhost"
            ))
        };
        let mut url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let wanted = url.scheme() == "amqps";
        let tls = Tls::take(&mut url, wanted).map_err(failed)?;
        let mut uri: AMQPUri = url.as_str().parse().map_err(wrong)?;
        if uri.query.heartbeat.is_none() {
            uri.query.heartbeat = Some(HEARTBEAT_S);
        }
        // The library takes any IP address that is no domain for "localhost".
        match url.host() {
            Some(Host::Ipv6(ip)) => uri.authority.host = ip.to_string(),
            Some(Host::Ipv4(ip)) => uri.authority.host = ip.to_string(),
            Some(Host::Domain(_)) | None => {}
        }
        // A slash at the end means, by the book, the virtual host with the empty name. Nobody has
        // one, and many write it.
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        Ok(Self {
            uri,
            tls: tls.map(|tls| tls.config),
        })
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.uri.clone()
    }

    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.uri.authority.host, self.uri.authority.port)
    }

    /// How to encrypt, if we do.
    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn is_guest(&self) -> bool {
        self.uri.authority.userinfo.username == "guest"
    }

    /// On this machine, as far as the name tells.
    pub(super) fn is_loopback(&self) -> bool {
        let host = &self.uri.authority.host;
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri {
            scheme,
            authority,
            vhost,
            ..
        } = &self.uri;
        let vhost = vhost.strip_prefix('/').unwrap_or(vhost);
        write!(
            f,
            "{scheme}://{}:{}/{vhost}",
            authority.host, authority.port
        )
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
