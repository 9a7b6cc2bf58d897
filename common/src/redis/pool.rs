//! Connections to the server as it is just now, kept while they answer.

use std::{
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicUsize, Ordering},
};

use ::redis::{AsyncConnectionConfig, RedisError, aio::MultiplexedConnection};
use deadpool::{
    Runtime,
    managed::{self, BuildError, Manager, Metrics, PoolConfig, RecycleResult, Timeouts},
};

use super::{
    address::{Address, place_of},
    link::{CONNECT, QUERY},
    sentinel::Place,
};

const SIZE: usize = 8;

/// A connection out of the pool.
pub(super) type Connection = managed::Object<Connector>;
/// The pool.
pub(super) type Pool = managed::Pool<Connector>;

/// A connection, and who made it and knows how to check it.
pub(super) struct Line {
    connection: MultiplexedConnection,
    maker: deadpool_redis::Manager,
    /// Where it leads.
    pub(super) to: Place,
}

impl Deref for Line {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.connection
    }
}

impl DerefMut for Line {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.connection
    }
}

/// Asks where the server is, each time: after a fail-over it is another one. All else is
/// deadpool-redis's.
#[derive(Debug)]
pub(super) struct Connector {
    address: Address,
    limits: AsyncConnectionConfig,
    made: AtomicUsize,
}

impl Connector {
    /// How many connections it has made.
    pub(super) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

impl Manager for Connector {
    type Type = Line;
    type Error = RedisError;

    async fn create(&self) -> Result<Line, RedisError> {
        let server = Box::pin(self.address.client()).await?;
        let server = server.get_connection_info().clone();
        let to = place_of(&server);
        self.made.fetch_add(1, Ordering::Relaxed);
        let maker = deadpool_redis::Manager::new_with_config(server, self.limits.clone())?;
        Ok(Line {
            // Boxed: it nests deeper than the compiler likes to look.
            connection: Box::pin(maker.create()).await?,
            maker,
            to,
        })
    }

    async fn recycle(&self, line: &mut Line, metrics: &Metrics) -> RecycleResult<RedisError> {
        line.maker.recycle(&mut line.connection, metrics).await
    }
}

/// A pool of connections to this server.
pub(super) fn to(address: Address) -> Result<Pool, BuildError> {
    let limits = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(QUERY));
    let config = PoolConfig {
        max_size: SIZE,
        timeouts: Timeouts {
            wait: Some(CONNECT),
            create: Some(CONNECT),
            recycle: Some(CONNECT),
        },
        ..PoolConfig::default()
    };
    Pool::builder(Connector {
        address,
        limits,
        made: AtomicUsize::new(0),
    })
    .config(config)
    .runtime(Runtime::Tokio1)
    .build()
}
