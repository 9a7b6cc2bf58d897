//! Where the server is: a URL whose password never shows, or what Sentinels say.
//!
//! `redis[s]://[user:password@]host[:port][/database]` is one server;
//! `redis[s]+sentinel://[user:password@]host[:port][,host…]/name[/database]` are Sentinels that
//! know which server is the primary called `name` just now. They are asked anew for every
//! connection, without a password: user and password are those of the server.

use std::{fmt, sync::Arc};

use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsCertificates, io::tcp::TcpSettings,
};
use url::Url;

use super::sentinel::{Place, Sentinels};
use crate::{hosts::one_each, ports::StoreError, tls::Tls};

const SENTINEL_PORT: u16 = 26379;

/// Where the server is. Shows as scheme, hosts, ports, name and database.
#[derive(Clone)]
pub(super) struct Address {
    /// The server, but for its host and port if Sentinels know them.
    server: ConnectionInfo,
    sentinels: Option<Arc<Sentinels>>,
    certificates: Option<TlsCertificates>,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let failed = |why: String| StoreError::Failed {
            at: "the given URL".to_owned(),
            why,
        };
        // The text is not repeated: it may hold a password.
        let unreadable = || {
            failed(
                "it is not of the form redis[s]://[user:password@]host[:port][/database] or \
                 redis[s]+sentinel://[user:password@]host[:port][,host…]/name[/database]"
                    .to_owned(),
            )
        };
        let urls: Result<Vec<Url>, _> = one_each(text).iter().map(|url| Url::parse(url)).collect();
        let mut urls = urls.map_err(|_| unreadable())?;
        let (secure, watched) = match urls[0].scheme() {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(unreadable()),
        };
        let tls = Tls::take(&mut urls[0], secure).map_err(failed)?;
        let certificates = tls.map(certificates);
        if !watched {
            let [url] = &urls[..] else {
                return Err(failed(
                    "several hosts need Sentinels that say which is the primary: \
                     redis+sentinel://host,host/name"
                        .to_owned(),
                ));
            };
            return Ok(Self {
                server: info(url.as_str()).ok_or_else(unreadable)?,
                sentinels: None,
                certificates,
            });
        }
        let mut path = urls[0].path().trim_matches('/').splitn(2, '/');
        let (name, database) = (path.next().unwrap_or_default(), path.next().unwrap_or("0"));
        if name.is_empty() {
            return Err(unreadable());
        }
        let ways = urls.iter().map(|url| {
            let way = sentinel(url, secure).ok_or_else(unreadable)?;
            way.into_connection_info()
                .and_then(|info| open(info, certificates.as_ref()))
                .map_err(|error| failed(error.to_string()))
        });
        let sentinels = Sentinels::new(ways.collect::<Result<_, _>>()?, name.to_owned());
        let server = format!(
            "{}://{}localhost/{database}",
            if secure { "rediss" } else { "redis" },
            user(&urls[0])
        );
        Ok(Self {
            sentinels: Some(Arc::new(sentinels)),
            server: info(&server).ok_or_else(unreadable)?,
            certificates,
        })
    }

    fn hosts(&self) -> Vec<Place> {
        let Some(sentinels) = &self.sentinels else {
            return vec![place_of(&self.server)];
        };
        let ways = sentinels.ways().iter();
        ways.map(|way| place_of(way.get_connection_info()))
            .collect()
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.server.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// On this machine, as far as the names tell.
    pub(super) fn is_loopback(&self) -> bool {
        let is_loopback = |host: &str| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
        };
        self.hosts().iter().all(|(host, _)| is_loopback(host))
    }

    /// Who know which server it is just now, if not always the same one.
    pub(super) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        self.sentinels.as_ref()
    }

    /// The way to the server as it is just now.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        let mut server = self.server.clone();
        if let Some(sentinels) = &self.sentinels {
            let (host, port) = sentinels.ask().await?;
            server = server.set_addr(address(host, port, self.is_encrypted()));
        }
        open(server, self.certificates.as_ref())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.is_encrypted() { "s" } else { "" };
        let hosts = self.hosts().into_iter();
        let hosts: Vec<_> = hosts.map(|(host, port)| format!("{host}:{port}")).collect();
        let (hosts, database) = (hosts.join(","), self.server.redis_settings().db());
        match &self.sentinels {
            None => write!(f, "redis{secure}://{hosts}/{database}"),
            Some(sentinels) => {
                let name = sentinels.name();
                write!(f, "redis{secure}+sentinel://{hosts}/{name}/{database}")
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn open(info: ConnectionInfo, certificates: Option<&TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    }
}

fn info(url: &str) -> Option<ConnectionInfo> {
    let info = url.into_connection_info().ok()?;
    Some(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// User and password, as they stand in a URL.
fn user(url: &Url) -> String {
    match (url.username(), url.password()) {
        ("", None) => String::new(),
        (user, None) => format!("{user}@"),
        (user, Some(password)) => format!("{user}:{password}@"),
    }
}

fn sentinel(url: &Url, secure: bool) -> Option<ConnectionAddr> {
    let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
    Some(address(host, url.port().unwrap_or(SENTINEL_PORT), secure))
}

fn address(host: String, port: u16, secure: bool) -> ConnectionAddr {
    if secure {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

/// Where this leads.
pub(super) fn place_of(info: &ConnectionInfo) -> Place {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host.clone(), *port)
        }
        // No URL that is taken here has another.
        _ => Place::default(),
    }
}

fn certificates(tls: Tls) -> TlsCertificates {
    let identity = |(client_cert, client_key)| ClientTlsConfig {
        client_cert,
        client_key,
    };
    TlsCertificates {
        client_tls: tls.identity.map(identity),
        root_cert: tls.authorities,
    }
}
