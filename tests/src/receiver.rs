//! An HTTP server that says what a test wants, also what no server should say.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

/// What a request is answered with.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then the line is cut, without the politeness of TCP.
    Cut(&'static str),
    /// These bytes, and then nothing until the other side goes.
    Silence(&'static str),
    /// A body without an end.
    Flood,
}

impl Reply {
    /// A whole answer: status, further lines of the head, body.
    pub fn of(status: u16, head: &[&str], body: &str) -> Self {
        let mut text = format!(
            "HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n",
            body.len()
        );
        for line in head {
            text.push_str(line);
            text.push_str("\r\n");
        }
        Self::Bytes(format!("{text}\r\n{body}").into_bytes())
    }
}

/// A request as it came. Names of headers are in lower case.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Method and target.
    pub line: String,
    /// The head.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP server on this machine: the n-th request gets the n-th reply, and the last one stands for
/// all others.
#[derive(Debug, Clone)]
pub struct Receiver {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    hung_up: Arc<AtomicUsize>,
}

impl Receiver {
    /// Without TLS.
    pub async fn start(replies: impl Into<Vec<Reply>>) -> Self {
        Self::with(replies.into(), None).await
    }

    /// With TLS, for those whom the authority knows. `folder` is as `Authority::sign` makes one, for
    /// `localhost`.
    pub async fn tls(folder: &Path, replies: impl Into<Vec<Reply>>) -> Self {
        Self::with(replies.into(), Some(acceptor(folder))).await
    }

    async fn with(replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            asked: Arc::default(),
            hung_up: Arc::default(),
        };
        let (own, replies) = (this.clone(), Arc::new(replies));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, replies, tls) = (own.clone(), replies.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => own.serve(stream, &replies).await,
                        Some(tls) => own.serve(tls.accept(stream).await?, &replies).await,
                    }
                });
            }
        });
        this
    }

    /// Where it listens: by name, for a certificate has one.
    pub fn url(&self, path: &str) -> String {
        let (scheme, port) = (self.scheme, self.address.port());
        format!("{scheme}://localhost:{port}{path}")
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many lost patience with [`Reply::Silence`] or [`Reply::Flood`].
    pub fn hung_up(&self) -> usize {
        self.hung_up.load(Ordering::SeqCst)
    }

    async fn serve<S: Line>(&self, stream: S, replies: &[Reply]) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream).await? {
            let at = {
                let mut all = self.asked.lock().unwrap();
                all.push(asked);
                all.len().min(replies.len()) - 1
            };
            match &replies[at] {
                Reply::Bytes(bytes) => stream.write_all(bytes).await?,
                Reply::Cut(text) => {
                    stream.write_all(text.as_bytes()).await?;
                    stream.get_ref().cut();
                    return Ok(());
                }
                Reply::Silence(text) => {
                    stream.write_all(text.as_bytes()).await?;
                    while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
                    self.hung_up.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                Reply::Flood => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
                    self.hung_up.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

trait Line: AsyncRead + AsyncWrite + Unpin + Send {
    /// The other side is to get a reset.
    fn cut(&self) {}
}

impl Line for TcpStream {
    fn cut(&self) {
        self.set_zero_linger().unwrap();
    }
}

impl Line for tokio_rustls::server::TlsStream<TcpStream> {}

async fn read<S: Line>(stream: &mut BufReader<S>) -> io::Result<Option<Asked>> {
    let mut asked = Asked::default();
    if stream.read_line(&mut asked.line).await? == 0 {
        return Ok(None);
    }
    asked.line = asked
        .line
        .trim_end()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        asked.headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = asked.headers.get("content-length");
    asked.body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut asked.body).await?;
    Ok(Some(asked))
}

/// Takes TLS lines with the certificate of `folder`, of those whom its authority vouches for.
pub(crate) fn acceptor(folder: &Path) -> TlsAcceptor {
    let pem = |name: &str| folder.join(name);
    let mut known = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(pem("ca.pem")).unwrap();
    known.add(authority).unwrap();
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let verifier = WebPkiClientVerifier::builder(known.into()).build().unwrap();
    let own = CertificateDer::from_pem_file(pem("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pem("key.pem")).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![own], key).unwrap()))
}
