//! Where the broker is: a URL whose password never shows. It may name several hosts, those of a
//! cluster, with commas between them.

use std::{fmt, sync::Arc};

use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::ClientConfig;
use url::{Host, Url};

use crate::{hosts::one_each, ports::BrokerError, tls::Tls};

/// Seconds between heartbeats; a dead peer is noticed after two. The server's own default is 60.
const HEARTBEAT_S: u16 = 10;

/// A broker's URL. Shows as scheme, hosts, ports and virtual host.
#[derive(Clone)]
pub(super) struct Address {
    uris: Vec<AMQPUri>,
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
            let why: String = why.chars().take(300).collect();
            failed(format!(
                "{why}; it must look like amqp://user:password@host:5672/vhost"
            ))
        };
        let mut tls = None;
        let mut uris = Vec::new();
        for text in one_each(text) {
            let mut url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
            let wanted = url.scheme() == "amqps";
            tls = Tls::take(&mut url, wanted).map_err(failed)?;
            uris.push(uri(&url).map_err(wrong)?);
        }
        Ok(Self {
            uris,
            tls: tls.map(|tls| tls.config),
        })
    }

    /// One for each host, all but the host and port alike.
    pub(super) fn uris(&self) -> &[AMQPUri] {
        &self.uris
    }

    pub(super) fn host_and_port(&self) -> (&str, u16) {
        let authority = &self.uris[0].authority;
        (&authority.host, authority.port)
    }

    /// The virtual host.
    pub(super) fn vhost(&self) -> &str {
        &self.uris[0].vhost
    }

    /// How to encrypt, if we do.
    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.clone()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.uris[0].scheme == AMQPScheme::AMQPS
    }

    pub(super) fn is_guest(&self) -> bool {
        self.uris[0].authority.userinfo.username == "guest"
    }

    /// On this machine, as far as the name tells.
    pub(super) fn is_loopback(&self) -> bool {
        self.uris.iter().all(|uri| {
            let host = &uri.authority.host;
            let address = host.parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, vhost, .. } = &self.uris[0];
        let vhost = vhost.strip_prefix('/').unwrap_or(vhost);
        let place = |uri: &AMQPUri| format!("{}:{}", uri.authority.host, uri.authority.port);
        let places: Vec<String> = self.uris.iter().map(place).collect();
        write!(f, "{scheme}://{}/{vhost}", places.join(","))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the client library makes of a URL, and what it should.
fn uri(url: &Url) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.as_str().parse()?;
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
    Ok(uri)
}
