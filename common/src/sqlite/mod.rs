//! Broker and store in one SQLite file: the embedded pair, for any number of processes of one host.
//!
//! Read in this order: `schema.sql` (what is in the file), [`writer`] (the one thread that writes,
//! many calls to a commit), `messages` and `jobs` (what is written), `consumer` (how messages are
//! taken), `ear` and `scout` (how other processes' commits are noticed, and the dead found).
//!
//! Invariants: only the writer thread writes; a reply is sent only after its commit; nothing on
//! the way of a job costs more because more jobs wait; a message is in exactly one of `ready`,
//! `later` and `held`; what a session held goes back when its process is gone.

mod broker;
mod check;
mod consumer;
mod ear;
mod fault;
mod hub;
mod jobs;
mod liveness;
mod messages;
mod oldest;
mod pauses;
mod query;
mod readers;
mod row;
mod saves;
mod schema;
mod scout;
mod scripts;
mod session;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod workers;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
    thread::JoinHandle,
    time::Duration,
};

use crate::{
    job::QueueName,
    metrics::PublishMeters,
    ports::{BrokerError, StoreError},
};
use ear::Ear;
use fault::Fault;
use hub::Hub;
use readers::Readers;
use writer::{OnDisk, Writer};

/// What it is, in logs and metrics.
const KIND: &str = "sqlite";

/// One SQLite file as broker and store.
#[derive(Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
    scout: Mutex<Option<JoinHandle<()>>>,
    meters: PublishMeters,
}

/// What consumers and calls share.
#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    hub: Arc<Hub>,
    /// The session that new consumers belong to; 0 before the first.
    session: Arc<AtomicI64>,
}

impl Sqlite {
    /// Opens the file, making it where there is none, and gives back what dead processes held.
    ///
    /// # Errors
    /// When the file cannot be opened or made, is no Haul file, or one of a newer Haul.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(owned)).await;
        opened
            .unwrap_or_else(|_| Err(Fault::closed()))
            .map(Arc::new)
            .map_err(|fault| fault.store(path))
    }

    fn open_blocking(path: PathBuf) -> Result<Self, Fault> {
        let writing = schema::open(&path)?;
        session::bury_the_dead(&writing)?;
        let (ear, caller) =
            Ear::new().map_err(|error| Fault::failed(format!("no pipe for it: {error}")))?;
        let hub = Arc::new(Hub::new(caller));
        let session = Arc::new(AtomicI64::new(0));
        let writer = Writer::start(writing)?;
        let eye = schema::connect(&path, schema::READER_CACHE_KIB)?;
        let scout = scout::start(eye, ear, &writer, &hub, &session)?;
        let inner = Inner {
            readers: Readers::new(path.clone()),
            path,
            writer,
            hub,
            session,
        };
        Ok(Self {
            inner: Arc::new(inner),
            scout: Mutex::new(Some(scout)),
            meters: PublishMeters::new(KIND),
        })
    }

    /// Waits for what is on its way, says goodbye and stops both threads.
    async fn shut(&self) {
        self.inner.hub.close();
        let left = async {
            while self.inner.hub.has_consumers() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // One that does not come back in time loses what it holds; it comes again.
        let _ = tokio::time::timeout(Duration::from_secs(5), left).await;
        let scout = self
            .scout
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(scout) = scout {
            // A scout that panicked has nothing left to say.
            let _ = tokio::task::spawn_blocking(move || scout.join()).await;
        }
        let session = self.inner.session.load(std::sync::atomic::Ordering::SeqCst);
        let _ = self
            .inner
            .writer
            .call(1, OnDisk::Soon, move |txn| session::bury(txn.db, session))
            .await;
        self.inner.readers.close();
        self.inner.writer.close().await;
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.inner.hub.close();
    }
}

impl Inner {
    fn store_error(&self, fault: Fault) -> StoreError {
        fault.store(&self.path)
    }

    fn broker_error(&self, fault: Fault) -> BrokerError {
        fault.broker(&self.path)
    }

    fn no_such_queue(queue: &QueueName) -> Fault {
        Fault::failed(format!("it has no queue `{queue}`; declare it first"))
    }
}
