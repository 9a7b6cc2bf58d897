//! Connections to the server as it is just now, kept while they answer.

use ::redis::{AsyncConnectionConfig, RedisError, aio::MultiplexedConnection};
use deadpool::{
    Runtime,
    managed::{self, BuildError, Metrics, PoolConfig, RecycleResult, Timeouts},
};

use super::{
    address::Address,
    link::{CONNECT, QUERY},
};

const SIZE: usize = 8;

/// A connection out of the pool.
pub(super) type Connection = managed::Object<Connector>;
/// The pool.
pub(super) type Pool = managed::Pool<Connector>;

/// Makes connections, and tries old ones.
#[derive(Debug)]
pub(super) struct Connector {
    address: Address,
    limits: AsyncConnectionConfig,
}

impl managed::Manager for Connector {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        let client = self.address.client().await?;
        client
            .get_multiplexed_async_connection_with_config(&self.limits)
            .await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        _: &Metrics,
    ) -> RecycleResult<RedisError> {
        ::redis::cmd("PING").exec_async(connection).await?;
        Ok(())
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
    Pool::builder(Connector { address, limits })
        .config(config)
        .runtime(Runtime::Tokio1)
        .build()
}
