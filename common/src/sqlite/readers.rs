//! A few connections that only read, beside the writer: in WAL mode neither waits for the other.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{KIND, fault::Fault, schema};
use crate::metrics::TripMeters;

const READERS: usize = 2;

/// Connections that wait for something to read.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    gate: Arc<Semaphore>,
    trips: TripMeters,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            idle: Arc::default(),
            gate: Arc::new(Semaphore::new(READERS)),
            trips: TripMeters::new(KIND, "read"),
        }
    }

    /// Runs `look` on a connection, on a thread that may block, in one snapshot of the file.
    pub(super) async fn read<T, F>(&self, look: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (gate, idle, path) = (self.gate.clone(), self.idle.clone(), self.path.clone());
        let blocking = move || {
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let db = match waiting {
                Some(db) => db,
                None => schema::connect(&path, schema::READER_CACHE_KIB)?,
            };
            // What failed may have left a transaction behind: that connection is not used again.
            let txn = db.unchecked_transaction()?;
            let seen = look(&txn)?;
            txn.commit()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(db);
            Ok(seen)
        };
        // In a task of its own: a caller that is not polled any more must not keep a turn.
        let reading = tokio::spawn(async move {
            let _turn = gate.acquire_owned().await.map_err(|_| Fault::closed())?;
            tokio::task::spawn_blocking(blocking)
                .await
                .unwrap_or_else(|_| Err(Fault::closed()))
        });
        let since = Instant::now();
        let seen = reading.await.unwrap_or_else(|_| Err(Fault::closed()));
        self.trips.over(since, seen.is_ok());
        seen
    }

    /// Closes the connections that wait; later reads are refused.
    pub(super) fn close(&self) {
        self.gate.close();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
