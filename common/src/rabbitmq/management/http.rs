//! Just enough HTTP to ask the management API: one request, one connection.

use std::{fmt, io::ErrorKind, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use url::Url;

use crate::tls::{Tls, explained};

/// It puts its answers together from all nodes, which takes a busy cluster a while.
const PATIENCE: Duration = Duration::from_secs(15);
/// Thousands of queues fit into this.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

const SWITCH_ON: &str = "rabbitmq-plugins enable rabbitmq_management switches it on";

/// Where the API is. Shows without user and password.
pub(super) struct Server {
    host: String,
    port: u16,
    /// What every path begins with, where a proxy puts it under one.
    root: String,
    credentials: String,
    tls: Option<Tls>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: String,
    /// The server's clock, as it wrote it.
    pub(super) date: Option<String>,
}

impl Server {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let form = "it must look like http://USER:PASSWORD@HOST:15672";
        let mut url = Url::parse(text).map_err(|error| format!("{error}; {form}"))?;
        let encrypted = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("this is no HTTP URL; {form}")),
        };
        let tls = Tls::take(&mut url, encrypted)?;
        let host = url.host_str().ok_or(form)?.to_owned();
        let decode = |text: &str| {
            let pairs = format!("x={}", text.replace('+', "%2B"));
            let mut pairs = url::form_urlencoded::parse(pairs.as_bytes());
            pairs.next().map(|(_, value)| value.into_owned())
        };
        let user = decode(url.username()).unwrap_or_default();
        let password = decode(url.password().unwrap_or_default()).unwrap_or_default();
        Ok(Self {
            // As the user wrote it, or the plugin's own: never the port of the web.
            port: url.port().unwrap_or(if encrypted { 15671 } else { 15672 }),
            root: url.path().trim_end_matches('/').to_owned(),
            credentials: STANDARD.encode(format!("{user}:{password}")),
            host,
            tls,
        })
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When it does not answer in time, or not with 200.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        let text = match timeout(PATIENCE, self.exchange(path)).await {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => {
                let why = explained(&self.to_string(), error.to_string(), Some(&error));
                return Err(match error.kind() {
                    ErrorKind::ConnectionRefused => format!("{why}; {SWITCH_ON}"),
                    _ => why,
                });
            }
            Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let (status, answer) = understand(&text).ok_or("what answers there speaks no HTTP")?;
        match status {
            200 => Ok(answer),
            401 => Err(
                "it does not know this user and password: take one that `rabbitmqctl list_users` \
                         shows with the tag `monitoring`, or make it"
                    .to_owned(),
            ),
            403 => Err("the user may not look: give it the tag `monitoring`".to_owned()),
            404 => Err(format!(
                "{path}: no such virtual host, or not the management plugin"
            )),
            other => Err(format!("{path} answered {other}")),
        }
    }

    async fn exchange(&self, path: &str) -> std::io::Result<String> {
        let stream = TcpStream::connect((self.host.trim_matches(['[', ']']), self.port)).await?;
        let Some(tls) = &self.tls else {
            return self.talk(stream, path).await;
        };
        let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream = connector.connect(name, stream).await?;
        self.talk(stream, path).await
    }

    async fn talk<S>(&self, mut stream: S, path: &str) -> std::io::Result<String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // By version 1.0 the answer is in one piece, and ends with the connection.
        let Self {
            root,
            host,
            credentials,
            ..
        } = self;
        let request = format!(
            "GET {root}{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Basic {credentials}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.root)
    }
}

pub(super) fn understand(text: &str) -> Option<(u16, Answer)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    let date = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date")
            .then(|| value.trim().to_owned())
    });
    let answer = Answer {
        body: body.to_owned(),
        date,
    };
    Some((status.parse().ok()?, answer))
}

/// A name as a part of a path: `/`, for one, is the name of a virtual host.
pub(super) fn escape(name: &str) -> String {
    use fmt::Write;
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte.into()),
            // Writing to a string does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}
