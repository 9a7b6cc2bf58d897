//! From URLs to a broker and a store.

use std::{path::Path, sync::Arc};

pub use crate::ports::Backend;
use crate::{
    job::NameError,
    ports::{Broker, BrokerError, Store, StoreError},
    rabbitmq::RabbitMq,
    redis::RedisStore,
    sqlite::Sqlite,
    wire::topology::Namespace,
};

/// Where the broker and the store are.
///
/// From one URL (`sqlite:haul.db` is both) or from two (`amqp://…` with `redis://…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// `amqp://…`, `amqps://…` or `sqlite:PATH`.
    pub broker: String,
    /// `redis://…`, `rediss://…` or `sqlite:PATH`; the broker's file when absent.
    pub store: Option<String>,
    /// What every name begins with; `haul` when absent.
    pub namespace: Option<String>,
}

/// Where jobs go when nobody says: a file in the working directory.
pub const DEFAULT_URL: &str = "sqlite:haul.db";

impl From<&str> for Urls {
    fn from(broker: &str) -> Self {
        Self {
            broker: broker.to_owned(),
            store: None,
            namespace: None,
        }
    }
}

impl From<(&str, &str)> for Urls {
    fn from((broker, store): (&str, &str)) -> Self {
        Self {
            store: Some(store.to_owned()),
            ..broker.into()
        }
    }
}

impl Urls {
    fn namespace(&self) -> Result<Namespace, NameError> {
        let given = self.namespace.as_deref().map(Namespace::new);
        Ok(given.transpose()?.unwrap_or_else(Namespace::standard))
    }
}

/// Broker and store, each by itself.
pub type Apart = (
    Result<Arc<dyn Broker>, ConnectError>,
    Result<Arc<dyn Store>, ConnectError>,
);

/// A pair that cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL for this.
    #[error("`{given}` is not a {role} URL; write {expected}")]
    Url {
        /// Broker or store.
        role: &'static str,
        /// What was given, without what might be a password.
        given: String,
        /// What would be right.
        expected: &'static str,
    },
    /// RabbitMQ keeps no records.
    #[error(
        "RabbitMQ keeps messages, not records: give a store too, such as redis://localhost (HAUL_STORE or --store)"
    )]
    StoreMissing,
    /// The namespace is no name.
    #[error("the namespace is not usable: {0}")]
    Namespace(#[from] NameError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const BROKER_URLS: &str = "amqp://HOST[,HOST…]/VHOST, amqps://… or sqlite:PATH";
const STORE_URLS: &str =
    "redis://HOST/DB, rediss://HOST/DB, redis+sentinel://HOST[,HOST…]/NAME/DB or sqlite:PATH";

impl Backend {
    /// Connects both.
    ///
    /// # Errors
    /// When a URL is none, or what it names cannot be reached or used.
    pub async fn connect(urls: impl Into<Urls> + Send) -> Result<Self, ConnectError> {
        let urls = urls.into();
        let namespace = urls.namespace()?;
        let store_url = urls.store.as_deref().unwrap_or(&urls.broker);
        match (file(&urls.broker), file(store_url)) {
            (Some(broker), Some(store)) if broker == store => {
                let both = Sqlite::open(Path::new(broker)).await?;
                Ok(Self {
                    broker: both.clone(),
                    store: both,
                    embedded: true,
                })
            }
            (broker_file, store_file) => {
                if urls.store.is_none() && is_amqp(&urls.broker) {
                    return Err(ConnectError::StoreMissing);
                }
                // The store first: it says in a moment whether it can be used at all.
                let store = Self::store(store_url, store_file, &namespace).await?;
                let broker = Self::broker(&urls.broker, broker_file, namespace).await?;
                Ok(Self {
                    broker,
                    store,
                    embedded: false,
                })
            }
        }
    }

    /// Connects each for itself: tells which of two cannot be used.
    ///
    /// # Errors
    /// When they are no two.
    pub async fn apart(urls: &Urls) -> Result<Apart, ConnectError> {
        let namespace = urls.namespace()?;
        let store = urls.store.as_deref().ok_or(ConnectError::StoreMissing)?;
        Ok(tokio::join!(
            Self::broker(&urls.broker, file(&urls.broker), namespace.clone()),
            Self::store(store, file(store), &namespace),
        ))
    }

    async fn broker(
        url: &str,
        file: Option<&str>,
        namespace: Namespace,
    ) -> Result<Arc<dyn Broker>, ConnectError> {
        match file {
            Some(path) => Ok(Sqlite::open(Path::new(path)).await?),
            None if is_amqp(url) => Ok(RabbitMq::connect(url, namespace).await?),
            None => Err(unknown("broker", url, BROKER_URLS)),
        }
    }

    async fn store(
        url: &str,
        file: Option<&str>,
        namespace: &Namespace,
    ) -> Result<Arc<dyn Store>, ConnectError> {
        match file {
            Some(path) => Ok(Sqlite::open(Path::new(path)).await?),
            None if url.starts_with("redis") => {
                Ok(RedisStore::connect(url, namespace.clone()).await?)
            }
            None => Err(unknown("store", url, STORE_URLS)),
        }
    }
}

fn file(url: &str) -> Option<&str> {
    url.strip_prefix("sqlite:")
        .map(|path| path.strip_prefix("//").unwrap_or(path))
}

fn is_amqp(url: &str) -> bool {
    url.starts_with("amqp://") || url.starts_with("amqps://")
}

fn unknown(role: &'static str, url: &str, expected: &'static str) -> ConnectError {
    // Only what stands before an `@`-sign can hold a password.
    let given = url
        .rsplit('@')
        .next()
        .unwrap_or_default()
        .chars()
        .take(80)
        .collect();
    ConnectError::Url {
        role,
        given,
        expected,
    }
}
