//! What monitors ask by HTTP: `/metrics`, `/livez` and `/readyz`, and nothing else.
//!
//! Everything is bounded: so many connections at once, one request on each, so many bytes of head,
//! so much time in all. What the kernel queues beyond that waits. Metrics are written by one at a
//! time, on a thread of its own, so that no number of scrapes holds the loops up.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use haul_common::metrics;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
};

const CONNECTIONS_MAX: usize = 32;
/// The least that hyper takes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// For one connection, from its first byte to its last.
const ALL_WITHIN: Duration = Duration::from_secs(30);
/// After an error of accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// An address that is listened on.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

/// What `/readyz` answers.
#[derive(Debug)]
pub struct Answer {
    ready: bool,
    body: Vec<u8>,
}

impl Answer {
    /// 200 if ready, else 503, with this body.
    pub fn json(ready: bool, body: &impl Serialize) -> Self {
        // Fails for maps whose keys are not text; those who ask this have none.
        let mut body = serde_json::to_vec(body).unwrap_or_default();
        body.push(b'\n');
        Self { ready, body }
    }
}

/// How `/livez` and `/readyz` are answered.
struct Probes<L, R> {
    lives: L,
    ready: R,
}

impl Endpoint {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken, or not ours.
    pub async fn bind(at: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where; with the port that was found where 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped: whether it lives, and whether it is ready.
    pub async fn serve(
        self,
        lives: impl Fn() -> bool + Send + Sync + 'static,
        ready: impl Fn() -> Answer + Send + Sync + 'static,
    ) {
        let probes = Arc::new(Probes { lives, ready });
        let (places, writer) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::default());
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(talk(stream, place, probes.clone(), Arc::clone(&writer)));
                }
                Err(error) => {
                    tracing::debug!(%error, "a monitor could not be let in");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// One connection, with one request.
async fn talk(
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    probes: Arc<Probes<impl Fn() -> bool, impl Fn() -> Answer>>,
    writer: Arc<Mutex<()>>,
) {
    let service = service_fn(|request| {
        let (probes, writer) = (probes.clone(), writer.clone());
        async move { Ok::<_, Infallible>(answer(&request, &probes, &writer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow, or breaks off, is not answered.
    let _ = tokio::time::timeout(ALL_WITHIN, connection).await;
}

async fn answer(
    request: &Request<Incoming>,
    probes: &Probes<impl Fn() -> bool, impl Fn() -> Answer>,
    writer: &Mutex<()>,
) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = of(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(header::ALLOW, allowed);
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => metrics(writer).await,
        "/livez" if (probes.lives)() => of(StatusCode::OK, TEXT, "alive\n"),
        "/livez" => {
            let why = "its loops no longer turn: end it, and start another one\n";
            of(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
        }
        "/readyz" => {
            let Answer { ready, body } = (probes.ready)();
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            of(status, JSON, body)
        }
        _ => of(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /livez and /readyz\n",
        ),
    }
}

async fn metrics(writer: &Mutex<()>) -> Response<Full<Bytes>> {
    let _turn = writer.lock().await;
    match tokio::task::spawn_blocking(metrics::text).await {
        Ok(text) => of(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(_) => of(
            StatusCode::INTERNAL_SERVER_ERROR,
            TEXT,
            "the metrics cannot be written\n",
        ),
    }
}

fn of(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    // What is true now is not, a moment later.
    let never = header::HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
    response
}
