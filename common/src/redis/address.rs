//! Where the server is: a URL whose password never shows, or what Sentinels say.
//!
//! `redis[s]://[user:password@]host[:port][/database]` is one server;
//! `redis[s]+sentinel://[user:password@]host[:port][,host…]/name[/database]` are Sentinels that
//! know which server is the primary called `name` just now. They are asked anew for every
//! connection, without a password: user and password are those of the server.

use std::fmt;

use ::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisError, RedisResult, TlsCertificates, io::tcp::TcpSettings,
};
use url::Url;

use super::sentinel::{self, Place};
use crate::{hosts::one_each, ports::StoreError, tls::Tls};

const SENTINEL_PORT: u16 = 26379;

/// Where the server is. Shows as scheme, hosts, ports, name and database.
#[derive(Clone)]
pub(super) struct Address {
    /// The server, but for its host and port if Sentinels know them.
    server: ConnectionInfo,
    sentinels: Option<Sentinels>,
    certificates: Option<TlsCertificates>,
}

#[derive(Clone)]
struct Sentinels {
    hosts: Vec<ConnectionAddr>,
    name: String,
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
        let hosts: Option<Vec<_>> = urls.iter().map(|url| sentinel(url, secure)).collect();
        if name.is_empty() {
            return Err(unreadable());
        }
        let server = format!(
            "{}://{}localhost/{database}",
            if secure { "rediss" } else { "redis" },
            user(&urls[0])
        );
        Ok(Self {
            sentinels: Some(Sentinels {
                hosts: hosts.ok_or_else(unreadable)?,
                name: name.to_owned(),
            }),
            server: info(&server).ok_or_else(unreadable)?,
            certificates,
        })
    }

    fn hosts(&self) -> &[ConnectionAddr] {
        match &self.sentinels {
            Some(sentinels) => &sentinels.hosts,
            None => std::slice::from_ref(self.server.addr()),
        }
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
        self.hosts().iter().all(|host| is_loopback(place(host).0))
    }

    /// The way to the server as it is just now.
    pub(super) async fn client(&self) -> RedisResult<Client> {
        match &self.sentinels {
            None => self.open(self.server.clone()),
            Some(sentinels) => {
                let (host, port) = self.ask(sentinels).await?;
                let server = self.server.clone();
                self.open(server.set_addr(address(host, port, self.is_encrypted())))
            }
        }
    }

    /// The ways to the Sentinels, and what they call the server; none where there are none.
    pub(super) fn sentinels(&self) -> RedisResult<Vec<(Client, String)>> {
        let Some(sentinels) = &self.sentinels else {
            return Ok(Vec::new());
        };
        let hosts = sentinels.hosts.iter();
        hosts
            .map(|host| Ok((self.to_sentinel(host)?, sentinels.name.clone())))
            .collect()
    }

    fn to_sentinel(&self, host: &ConnectionAddr) -> RedisResult<Client> {
        self.open(host.clone().into_connection_info()?)
    }

    fn open(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    /// What the first Sentinel says that answers.
    async fn ask(&self, sentinels: &Sentinels) -> RedisResult<Place> {
        let nobody = (ErrorKind::Io, "no Sentinel was asked");
        let mut error = RedisError::from(nobody);
        for host in &sentinels.hosts {
            match self.ask_one(host, &sentinels.name).await {
                Ok(Some(server)) => return Ok(server),
                Ok(None) => {
                    let what = "no Sentinel knows a primary of that name";
                    error = (ErrorKind::Io, what, sentinels.name.clone()).into();
                }
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    async fn ask_one(&self, host: &ConnectionAddr, name: &str) -> RedisResult<Option<Place>> {
        let mut line = sentinel::dial(&self.to_sentinel(host)?).await?;
        sentinel::who_is(name).query_async(&mut line).await
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.is_encrypted() { "s" } else { "" };
        let hosts: Vec<String> = self
            .hosts()
            .iter()
            .map(|host| format!("{}:{}", place(host).0, place(host).1))
            .collect();
        let (hosts, database) = (hosts.join(","), self.server.redis_settings().db());
        match &self.sentinels {
            None => write!(f, "redis{secure}://{hosts}/{database}"),
            Some(Sentinels { name, .. }) => {
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
    let (host, port) = place(info.addr());
    (host.to_owned(), port)
}

fn place(address: &ConnectionAddr) -> (&str, u16) {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host, *port)
        }
        // No URL that is taken here has another.
        _ => ("", 0),
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
