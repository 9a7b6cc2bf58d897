//! Connections: to an address that the guard let pass, with TLS for `https`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::ClientConfig, rustls::pki_types::ServerName};
use tower_service::Service;

use super::{guard::Guard, trouble::Trouble};

/// How long one address may take to answer, before the next one is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Makes connections for the pool.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) guard: Arc<Guard>,
    pub(super) tls: Arc<ClientConfig>,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<Line>, Trouble> {
        let host = uri.host().unwrap_or_default();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = self.guard.resolve(host, port).await?;
        let unreachable = |source| Trouble::Unreachable {
            host: host.to_owned(),
            source,
        };
        let mut last = io::Error::other("it has no address");
        for address in addresses {
            match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(unreachable)?;
                    let line = if secure {
                        Line(Box::pin(self.secure(host, stream).await?))
                    } else {
                        Line(Box::pin(stream))
                    };
                    return Ok(TokioIo::new(line));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(unreachable(last))
    }

    async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + use<>, Trouble> {
        let failed = |source| Trouble::Tls {
            host: host.to_owned(),
            source,
        };
        let name = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other);
        let connector = TlsConnector::from(self.tls.clone());
        connector
            .connect(name.map_err(failed)?, stream)
            .await
            .map_err(failed)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Line>;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A connection, with TLS or without.
pub(super) struct Line(Pin<Box<dyn Stream>>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, to)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
