//! One connection: built when it is needed, dropped whole on any error, rebuilt with a pause.
//!
//! A call that finds the broker away fails at once; the next one tries again, but not before the
//! pause is over (jittered, 50 ms to 1 s). The pauses begin anew once a connection has lasted. What
//! is lost, [`keep`] also rebuilds where nobody needs it for now.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, uri::AMQPUri};
use rustls::ClientConfig;
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    ANSWER,
    address::Address,
    errors,
    sieve::{self, Sieve},
};
use crate::{metrics::BackendMeters, ports::BrokerError};

/// How long connecting may take, handshake and all: a peer that accepts and says nothing would
/// otherwise hold us until the server's own deadline, or for ever.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that lived this long was no accident.
const LASTED: Duration = Duration::from_secs(5);
/// Between two tries to rebuild what nobody needs for now.
const KEPT: Duration = Duration::from_secs(1);
/// How long a polite goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The keeper of one connection.
#[derive(Debug)]
pub(super) struct Link {
    purpose: &'static str,
    address: Arc<Address>,
    state: Mutex<State>,
    meters: BackendMeters,
    lost: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    live: Option<Live>,
    /// Grows with every connection, so that a late complaint cannot hit the successor.
    generation: u64,
    pauses: ExponentialBackoff,
    since: Instant,
    not_before: Instant,
    last_error: Option<BrokerError>,
    closed: bool,
}

/// A connection as it was when somebody asked.
#[derive(Debug, Clone)]
pub(super) struct Live {
    connection: Arc<Connection>,
    pub(super) generation: u64,
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Link {
    pub(super) fn new(purpose: &'static str, address: Arc<Address>) -> Self {
        let now = Instant::now();
        Self {
            purpose,
            address,
            meters: BackendMeters::new(super::KIND, purpose),
            lost: watch::Sender::new(()),
            state: Mutex::new(State {
                live: None,
                generation: 0,
                pauses: pauses(),
                since: now,
                not_before: now,
                last_error: None,
                closed: false,
            }),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The connection; a new one where there is none that works.
    pub(super) async fn live(&self) -> Result<Live, BrokerError> {
        let mut state = self.state.lock().await;
        if let Some(live) = &state.live {
            if live.connection.status().connected() {
                return Ok(live.clone());
            }
            tracing::warn!(broker = %self.address, purpose = self.purpose, "connection lost");
            self.drop_live(&mut state);
        }
        if state.closed {
            return Err(BrokerError::Failed {
                at: self.address.to_string(),
                why: "it was closed by this process".to_owned(),
            });
        }
        if let Some(error) = state.last_error.clone()
            && Instant::now() < state.not_before
        {
            return Err(error);
        }
        self.rebuild(&mut state).await
    }

    async fn rebuild(&self, state: &mut State) -> Result<Live, BrokerError> {
        if state.generation > 0 && state.since.elapsed() > LASTED && state.last_error.is_none() {
            state.pauses = pauses();
        } else if state.generation > 0 && state.last_error.is_none() {
            // It connects and is lost at once, again and again: not more often than the pauses.
            tokio::time::sleep_until(state.not_before).await;
        }
        let result = self.open().await;
        let pause = state.pauses.next().unwrap_or(Duration::from_secs(1));
        (state.since, state.not_before) = (Instant::now(), Instant::now() + pause);
        match result {
            Ok(connection) => {
                state.generation += 1;
                state.last_error = None;
                let live = Live {
                    connection: Arc::new(connection),
                    generation: state.generation,
                };
                self.meters.up();
                tracing::debug!(broker = %self.address, purpose = self.purpose, "connected");
                Ok(state.live.insert(live).clone())
            }
            Err(error) => {
                self.meters.down();
                state.last_error = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Connection, BrokerError> {
        let name = format!("haul {} {}", self.purpose, std::process::id());
        // Neither recovery nor retries of the library's own.
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        // Another host first each time: so all nodes of a cluster share the work, and one that is
        // away holds nobody up for long.
        let uris = self.address.uris();
        let first = fastrand::usize(0..uris.len());
        let mut outcome = Err(errors::overdue(&self.address, "the connection"));
        for uri in uris[first..].iter().chain(&uris[..first]) {
            // Boxed: it nests deeper than the compiler likes to look.
            let connecting = Box::pin(connect(uri.clone(), self.address.tls(), properties.clone()));
            outcome = match timeout(CONNECT, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => Err(errors::of_connecting(&self.address, &error)),
                Err(_) => Err(errors::overdue(&self.address, "the connection")),
            };
        }
        outcome
    }

    /// A new channel, and the connection it is on.
    ///
    /// Opening a channel depends on nothing but the connection: when that fails, the connection
    /// is at fault and is dropped.
    pub(super) async fn channel(&self) -> Result<(Live, Channel), BrokerError> {
        let live = self.live().await?;
        let error = match timeout(ANSWER, live.connection.create_channel()).await {
            Ok(Ok(channel)) => return Ok((live, channel)),
            Ok(Err(error)) => errors::of_request(&self.address, "a channel", &error),
            Err(_) => errors::overdue(&self.address, "a channel"),
        };
        self.abandon(live.generation).await;
        Err(error)
    }

    /// Drops the connection, unless that was done already.
    pub(super) async fn abandon(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            self.drop_live(&mut state);
        }
    }

    fn drop_live(&self, state: &mut State) {
        if let Some(live) = state.live.take() {
            self.meters.down();
            self.lost.send_replace(());
            // Not waited for: it may hang as long as the peer does.
            tokio::spawn(goodbye(live));
        }
    }

    /// Closes for good.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        self.meters.closed();
        if let Some(live) = state.live.take() {
            goodbye(live).await;
        }
    }
}

/// Rebuilds a connection once it is lost, until the link is closed or dropped: whoever publishes but
/// now and then would long seem cut off from a broker that is back.
pub(super) fn keep(link: &Arc<Link>) {
    let (weak, mut lost) = (Arc::downgrade(link), link.lost.subscribe());
    tokio::spawn(async move {
        while lost.changed().await.is_ok() {
            while is_away(&weak).await {
                sleep(KEPT).await;
            }
        }
    });
}

async fn is_away(link: &Weak<Link>) -> bool {
    let Some(link) = link.upgrade() else {
        return false;
    };
    // What fails without being unreachable is closed.
    !matches!(link.live().await, Ok(_) | Err(BrokerError::Failed { .. }))
}

async fn connect(
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let tokio = lapin::runtime::default_runtime()?;
    Connection::connector(
        uri,
        sieve::runtime(),
        async move |uri: AMQPUri, _| {
            let authority = uri.authority;
            let addresses = tokio.to_socket_addrs((authority.host.clone(), authority.port));
            let stream = AsyncTcpStream::connect(&tokio, addresses).await?;
            let stream = match &tls {
                Some(config) => {
                    let connector = Arc::clone(config).into();
                    stream.into_rustls(&connector, &authority.host).await?
                }
                None => stream,
            };
            Ok(AsyncTcpStream::Plain(Sieve::new(stream)))
        },
        properties,
    )
    .await
}

/// Says goodbye. Without it, a connection stays open as long as one of its channels is held.
async fn goodbye(live: Live) {
    if live.connection.status().connected() {
        let _ = timeout(GOODBYE, live.connection.close(200, "goodbye".into())).await;
    }
}
