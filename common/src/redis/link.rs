//! The way to the server: a pool of connections, deadlines, and errors without passwords.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use ::redis::{
    ErrorKind, Pipeline, RedisResult, Value,
    aio::{ConnectionLike, PubSub},
};
use deadpool::managed::PoolError;
use tokio::time::timeout;

use super::{
    KIND,
    address::{Address, place_of},
    fault,
    pool::{self, Connection, Pool},
    scripts::Call,
    sentinel::{Demotions, Place, Sentinels},
};
use crate::{
    metrics::{BackendMeters, TripMeters},
    ports::StoreError,
    time::Timestamp,
};

pub(super) const CONNECT: Duration = Duration::from_secs(2);
pub(super) const QUERY: Duration = Duration::from_secs(5);
/// Sentinels do not give a server up that stands still for less.
const STILL: Duration = Duration::from_secs(1);
const DEMOTED: &str = "another server is the primary now";

/// The way to one server.
pub(super) struct Link {
    pool: Pool,
    address: Address,
    at: String,
    /// From here time is counted: unlike the wall clock, nobody sets it.
    start: Instant,
    /// The server's clock at `start`, in milliseconds.
    offset: AtomicI64,
    health: Mutex<Health>,
    meters: BackendMeters,
    trips: TripMeters,
}

#[derive(Debug, Default)]
struct Health {
    lost: bool,
    restored: Option<Instant>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.at).finish()
    }
}

impl Link {
    /// Reads the URL; connects later.
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let at = address.to_string();
        let pool = pool::to(address.clone()).map_err(|error| StoreError::Unreachable {
            at: at.clone(),
            why: error.to_string(),
        })?;
        Ok(Self {
            pool,
            address,
            at,
            start: Instant::now(),
            offset: AtomicI64::new(Timestamp::now().as_millis()),
            health: Mutex::default(),
            meters: BackendMeters::new(KIND, "commands"),
            trips: TripMeters::new(KIND, "call"),
        })
    }

    /// Where, without the password.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Whether strangers on the way could read along.
    pub(super) fn is_exposed(&self) -> bool {
        !self.address.is_encrypted() && !self.address.is_loopback()
    }

    /// A connection that hears what others publish, and what tells when it leads to a former primary.
    pub(super) async fn pubsub(&self) -> RedisResult<(PubSub, Demotions)> {
        let client = self.address.client().await?;
        let line = client.get_async_pubsub().await?;
        let demotions = Demotions::of(self.sentinels());
        // After one listens: what changes from now on is heard.
        if self.leads_to_primary(&place_of(client.get_connection_info())) {
            return Ok((line, demotions));
        }
        Err((ErrorKind::Io, DEMOTED).into())
    }

    /// Another server may have taken its place meanwhile.
    fn doubt(&self) {
        if let Some(sentinels) = self.sentinels() {
            sentinels.doubt();
        }
    }

    fn leads_to_primary(&self, place: &Place) -> bool {
        self.sentinels().is_none_or(|it| it.may_name(place))
    }

    /// Who know which server it is just now, if not always the same one.
    pub(super) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        self.address.sentinels()
    }

    /// Whether these replies, which took so long, count: not those of a server that was the primary once.
    pub(super) async fn check(
        &self,
        line: &Connection,
        replies: &[Value],
        took: Duration,
    ) -> Result<(), StoreError> {
        if took >= STILL {
            self.doubt();
        }
        if let Some(sentinels) = self.sentinels() {
            sentinels.settle().await;
        }
        if !self.leads_to_primary(&line.to) {
            return Err(self.unreachable(DEMOTED));
        }
        let away = |reply| fault::not_primary(&self.at, reply);
        replies.iter().find_map(away).map_or(Ok(()), Err)
    }

    /// How many connections to the server were made: whenever it starts anew, there are more.
    pub(super) fn connections(&self) -> usize {
        self.pool.manager().made()
    }

    /// A connection that answered just now.
    pub(super) async fn connection(&self) -> Result<Connection, StoreError> {
        let since = Instant::now();
        let outcome = self.pool.get().await;
        if since.elapsed() >= STILL {
            self.doubt();
        }
        let error = match outcome {
            Ok(connection) => return Ok(connection),
            Err(PoolError::Backend(error)) => fault::of(&self.at, &error),
            Err(PoolError::Timeout(_)) => self.late(CONNECT),
            Err(error) => self.unreachable(error.to_string()),
        };
        self.trips.failed();
        self.heard(&Err(&error));
        Err(error)
    }

    /// One round trip. Errors of single commands are errors of the whole.
    pub(super) async fn query(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.round_trip(pipeline).await?;
        replies
            .into_iter()
            .map(|reply| self.accept(reply))
            .collect()
    }

    /// One script outside the flights.
    pub(super) async fn eval(&self, call: Call) -> Result<Value, StoreError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(call.command);
        let mut reply = self.round_trip(&pipeline).await?.pop().unwrap_or_default();
        if fault::is_unknown_script(&reply)
            && let Some(script) = call.script
        {
            let mut again = Pipeline::with_capacity(2);
            again.add_command(script.load());
            for command in pipeline.cmd_iter() {
                again.add_command(command.clone());
            }
            reply = self.round_trip(&again).await?.pop().unwrap_or_default();
        }
        self.accept(reply)
    }

    /// A reply, unless it is an error.
    pub(super) fn accept(&self, reply: Value) -> Result<Value, StoreError> {
        reply
            .extract_error()
            .map_err(|error| fault::of(&self.at, &error))
    }

    async fn round_trip(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.connection().await?;
        let since = Instant::now();
        let sent = connection.req_packed_commands(pipeline, 0, pipeline.len());
        let outcome = match timeout(QUERY, sent).await {
            Ok(Ok(replies)) => self
                .check(&connection, &replies, since.elapsed())
                .await
                .map(|()| replies),
            Ok(Err(error)) => Err(fault::of(&self.at, &error)),
            Err(_) => Err(self.late(QUERY)),
        };
        if matches!(outcome, Err(StoreError::Unreachable { .. })) {
            // Out of the pool: what is still to come on it belongs to nobody.
            drop(Connection::take(connection));
        }
        self.trips.over(since, outcome.is_ok());
        self.heard(&outcome.as_ref().map(|_| ()));
        outcome
    }

    /// Takes note of how the server does.
    pub(super) fn heard(&self, outcome: &Result<(), &StoreError>) {
        match outcome {
            Err(StoreError::Unreachable { .. }) => self.meters.down(),
            Ok(()) => self.meters.up(),
            Err(_) => {}
        }
        let mut health = self.health();
        match outcome {
            Err(StoreError::Unreachable { .. }) => {
                health.lost = true;
                self.doubt();
            }
            Ok(()) if health.lost => {
                *health = Health {
                    lost: false,
                    restored: Some(Instant::now()),
                };
            }
            _ => {}
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server is away, or came back less than `age` ago.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        let health = self.health();
        health.lost || health.restored.is_some_and(|at| at.elapsed() < age)
    }

    pub(super) fn late(&self, limit: Duration) -> StoreError {
        self.unreachable(format!("no answer within {} s", limit.as_secs()))
    }

    pub(super) fn unreachable(&self, why: impl Into<String>) -> StoreError {
        StoreError::Unreachable {
            at: self.at.clone(),
            why: why.into(),
        }
    }

    pub(super) fn corrupt(&self, why: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            at: self.at.clone(),
            why: why.into(),
        }
    }

    /// The server's clock.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.offset.load(Ordering::Relaxed)) + self.start.elapsed()
    }

    /// Sets the clock by a reading that was made between `asked` and now.
    pub(super) fn set_clock(&self, asked: Instant, reading: i64) {
        let middle = asked.duration_since(self.start) + asked.elapsed() / 2;
        let at_start = Timestamp::from_millis(reading) - middle;
        self.offset.store(at_start.as_millis(), Ordering::Relaxed);
    }

    /// Lets no more connections out.
    pub(super) fn close(&self) {
        self.meters.closed();
        self.pool.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_the_password() {
        for url in [
            "redis://user:secret@localhost:1/2",
            "rediss://:secret@[::1]/0",
            "redis://user:secret@host:notaport",
            "http://user:secret@host",
            "redis://user:secret@host/notanumber",
            "redis+sentinel://user:secret@host:1,host/name/3",
            "redis+sentinel://user:secret@host,host:notaport/name",
        ] {
            let shown = match Link::open(url) {
                Ok(link) => format!("{link:?} {}", link.late(CONNECT)),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn a_server_is_named_without_its_password() {
        for (url, at) in [
            ("redis://me:x@host/2", "redis://host:6379/2"),
            (
                "redis+sentinel://me:x@a:1,b/main/3",
                "redis+sentinel://a:1,b:26379/main/3",
            ),
            ("redis+sentinel://a/main", "redis+sentinel://a:26379/main/0"),
        ] {
            assert_eq!(Link::open(url).unwrap().at(), at);
        }
    }

    #[tokio::test]
    async fn the_clock_goes_on_from_what_the_server_said() {
        let link = Link::open("redis://localhost").unwrap();
        let asked = Instant::now();
        link.set_clock(asked, 1_000_000);
        let now = link.now().as_millis();
        assert!((1_000_000..1_001_000).contains(&now), "{now}");
    }

    #[tokio::test]
    async fn after_a_loss_everybody_counts_as_alive_for_a_while() {
        let link = Link::open("redis://localhost").unwrap();
        assert!(!link.is_fresh(Duration::from_secs(10)));
        link.heard(&Err(&link.unreachable("gone")));
        assert!(link.is_fresh(Duration::ZERO), "while it is away");
        link.heard(&Ok(()));
        assert!(link.is_fresh(Duration::from_secs(10)));
        assert!(!link.is_fresh(Duration::ZERO));
    }

    #[test]
    fn only_a_clear_line_to_another_host_is_exposed() {
        for (url, exposed) in [
            ("redis://127.0.0.1", false),
            ("redis://[::1]:7000", false),
            ("redis://localhost", false),
            ("redis://10.0.0.1", true),
            ("rediss://10.0.0.1", false),
            ("redis+sentinel://127.0.0.1,10.0.0.1/name", true),
        ] {
            assert_eq!(Link::open(url).unwrap().is_exposed(), exposed, "{url}");
        }
    }
}
