//! Between the socket and the client library: what comes from the broker is handed on as it is,
//! but for methods and headers, which are [`wash`]ed whole.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::AsyncTcpStream;

use super::wash::{HEADER, METHOD, wash};

/// Kind, channel and size.
const FRAME_HEAD: usize = 7;
/// Ends every frame.
const FRAME_END: usize = 1;
/// Larger ones are handed on as they come: the broker sends none, for we agreed on less.
const WASHED_MAX: usize = 1024 * 1024;
/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// A stream whose frames the library can read.
pub(super) struct Sieve<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Up to here it was handed on.
    given: usize,
    /// Up to here it may be.
    clean: usize,
    /// Bytes that are handed on unseen: the rest of a body's frame.
    unseen: usize,
}

impl<S> Sieve<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            given: 0,
            clean: 0,
            unseen: 0,
        }
    }

    /// Goes on over whole frames.
    fn advance(&mut self) {
        loop {
            let step = self.unseen.min(self.buffer.len() - self.clean);
            self.clean += step;
            self.unseen -= step;
            let Some((head, rest)) =
                self.buffer[self.clean..].split_first_chunk_mut::<FRAME_HEAD>()
            else {
                return;
            };
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let kind = head[0];
            if !matches!(kind, METHOD | HEADER) || size > WASHED_MAX {
                self.unseen = FRAME_HEAD + size + FRAME_END;
                continue;
            }
            if rest.len() < size + FRAME_END {
                return;
            }
            wash(kind, &mut rest[..size]);
            self.clean += FRAME_HEAD + size + FRAME_END;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sieve<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let waiting = &this.buffer[this.given..this.clean];
            if !waiting.is_empty() {
                let count = waiting.len().min(out.len());
                out[..count].copy_from_slice(&waiting[..count]);
                this.given += count;
                return Poll::Ready(Ok(count));
            }
            this.buffer.drain(..this.clean);
            (this.given, this.clean) = (0, 0);
            if this.unseen > 0 && this.buffer.is_empty() {
                // No copy of bodies.
                let most = out.len().min(this.unseen);
                let count = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut out[..most]))?;
                this.unseen -= count;
                return Poll::Ready(Ok(count));
            }
            let had = this.buffer.len();
            this.buffer.resize(had + CHUNK, 0);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut this.buffer[had..]);
            let count = match &read {
                Poll::Ready(Ok(count)) => *count,
                _ => 0,
            };
            this.buffer.truncate(had + count);
            if count == 0 {
                // Pending, an error, or the end: half a frame is of no use to anybody.
                return read;
            }
            this.advance();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sieve<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// What the library runs on: tokio, with streams that are sieved.
pub(super) type Runtime = async_rs::Runtime<RuntimeParts<Tokio, Sieved>>;

/// The current tokio runtime as the library wants it.
pub(super) fn runtime() -> Runtime {
    let parts = RuntimeParts::new(Tokio::current(), Sieved(Tokio::current()));
    async_rs::Runtime::new(parts)
}

/// tokio's reactor, with streams that are sieved.
#[derive(Debug, Clone)]
pub(super) struct Sieved(Tokio);

impl Reactor for Sieved {
    type TcpStream = Sieve<AsyncTcpStream<<Tokio as Reactor>::TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, wait: Duration) -> Self::Sleep {
        self.0.sleep(wait)
    }

    fn interval(&self, wait: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(wait)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Sieve::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}
