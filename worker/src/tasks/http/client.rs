//! Sends a request and takes the answer in, so much of it as is kept.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use haul_common::{job::Failure, tls, trace};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

use super::{
    Http,
    args::{Ask, Expect},
    guard::Guard,
    line::Connector,
    result::Answer,
    sign::{Key, signature},
    trouble::Trouble,
};
use crate::Context;

/// What is kept of a body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// What is looked at of a refusal's body, and for how long: its head says what matters.
const REFUSAL_BYTES_MAX: usize = 4 * 1024;
const REFUSAL_WITHIN: Duration = Duration::from_secs(2);
/// What a head may have at most.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Connections that nobody uses are kept for this long, and so many for each host.
const IDLE: Duration = Duration::from_secs(30);
const IDLE_MAX: usize = 32;

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// What all requests of a worker share.
pub(crate) struct Client {
    guard: Arc<Guard>,
    keys: Vec<Key>,
    authorities: Option<String>,
    identity: Option<(String, String)>,
    /// Made at the first request: whom this machine trusts is not read for nothing.
    pool: OnceLock<Result<Pool, String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// When a setting is wrong, or a file that it names.
    pub(crate) fn new(http: Http) -> Result<Self, String> {
        if let Some(wrong) = http.wrong {
            return Err(wrong);
        }
        let client = Self {
            guard: Arc::new(http.guard),
            keys: http.keys,
            authorities: http.authorities,
            identity: http.identity,
            pool: OnceLock::new(),
        };
        // A wrong file is told at the start, not by each job.
        if client.authorities.is_some() || client.identity.is_some() {
            client.pool().as_ref().map_err(Clone::clone)?;
        }
        Ok(client)
    }

    fn pool(&self) -> &Result<Pool, String> {
        self.pool.get_or_init(|| {
            let identity = self.identity.as_ref();
            let identity = identity.map(|(cert, key)| (cert.as_str(), key.as_str()));
            let connector = Connector {
                guard: self.guard.clone(),
                tls: tls::towards_anybody(self.authorities.as_deref(), identity)?,
            };
            Ok(legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_MAX)
                .http1_max_buf_size(HEAD_BYTES_MAX)
                .build(connector))
        })
    }

    /// What is sent of `ask`, with everything that Haul says beside it.
    pub(super) fn request<S>(
        &self,
        ctx: &Context<S>,
        ask: &Ask,
        timeout: Duration,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = ask.url.as_str().parse()?;
        let headers = request.headers_mut();
        headers.insert(
            "user-agent",
            concat!("haul/", env!("CARGO_PKG_VERSION")).parse()?,
        );
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.extend(ask.headers.clone());
        let spec = ctx.core.spec();
        let now = ctx.core.protocol.backend().store.now();
        let ends = [
            spec.timeout,
            spec.deadline.map(|deadline| deadline.since(now)),
        ];
        let left = ends.into_iter().flatten().fold(timeout, Duration::min);
        headers.insert("idempotency-key", ctx.idempotency_key().parse()?);
        headers.insert("haul-job-id", ctx.id().parse()?);
        headers.insert("haul-attempt", ctx.attempt().into());
        headers.insert("haul-deadline-ms", u64::try_from(left.as_millis())?.into());
        for (name, text) in trace::context(spec) {
            if let Ok(value) = text.parse() {
                headers.insert(name, value);
            }
        }
        let seconds = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        if let Some(value) = signature(&self.keys, ctx.id(), seconds, &ask.body) {
            headers.insert("haul-signature", value.parse()?);
        }
        Ok(request)
    }

    /// Sends it. Dropped meanwhile, the connection is closed.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        expect: &Expect,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let pool = self.pool().as_ref().map_err(Failure::fatal)?;
        let end = Instant::now() + timeout;
        let slow = |_| Trouble::Slow(timeout).into_failure();
        let answer = timeout_at(end, pool.request(request)).await.map_err(slow)?;
        let (head, body) = answer
            .map_err(|error| Trouble::from(error).into_failure())?
            .into_parts();
        let (body, truncated) = if expect.takes(head.status) {
            let body = timeout_at(end, take(body, BODY_BYTES_MAX))
                .await
                .map_err(slow)?;
            body.map_err(|error| Trouble::from(error).into_failure())?
        } else {
            let end = end.min(Instant::now() + REFUSAL_WITHIN);
            let body = timeout_at(end, take(body, REFUSAL_BYTES_MAX)).await;
            body.ok().and_then(Result::ok).unwrap_or_default()
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            truncated,
        })
    }
}

/// At most `max` bytes of a body, and whether there are more.
async fn take(mut body: Incoming, max: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut taken = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = max - taken.len();
            taken.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((taken.freeze(), true));
            }
        }
    }
    Ok((taken.freeze(), false))
}
