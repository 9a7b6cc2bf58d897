//! The port to the work.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    Inner, KIND, Sqlite, consumer,
    fault::Fault,
    messages::{DEAD, Letter, must_exist},
    writer::{OnDisk, Txn},
};
use crate::{
    job::QueueName,
    ports::{Broker, BrokerError, Confirm, Finding, Inbox, Publication, QueueFacts, Source},
    time::Timestamp,
};

/// Messages that share a call to the writer.
const CHUNK: usize = 1000;

#[async_trait]
impl Broker for Sqlite {
    async fn declare(&self, queues: &[QueueName]) -> Result<(), BrokerError> {
        let queues = queues.to_vec();
        let declare = move |txn: &Txn<'_>| {
            for queue in &queues {
                txn.db
                    .prepare_cached("INSERT OR IGNORE INTO queues (name) VALUES (?1)")?
                    .execute([&**queue])?;
            }
            Ok(())
        };
        let declared = self.inner.writer.call(1, OnDisk::Now, declare).await;
        declared.map_err(|fault| self.inner.broker_error(fault))
    }

    async fn publish(&self, batch: Vec<Publication>) -> Vec<Confirm> {
        let since = Instant::now();
        let mut confirms = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter();
        loop {
            let chunk: Vec<Publication> = batch.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                self.meters.confirmed(since, &confirms);
                return confirms;
            }
            let count = chunk.len();
            let confirm = match self.inner.post(chunk).await {
                Ok(()) => Confirm::Accepted,
                Err(fault) => fault.confirm(&self.inner.path),
            };
            confirms.extend(std::iter::repeat_n(confirm, count));
        }
    }

    async fn consume(&self, source: Source, prefetch: u16) -> Result<Inbox, BrokerError> {
        let (queue, lane) = match source {
            Source::Lane(queue, lane) => (queue, lane),
            Source::Unrouted => return Ok(nothing_ever()),
        };
        let started = consumer::start(&self.inner, queue, lane, prefetch).await;
        started.map_err(|fault| self.inner.broker_error(fault))
    }

    async fn facts(&self, queue: &QueueName) -> Result<QueueFacts, BrokerError> {
        let queue = queue.clone();
        let facts = self.inner.readers.read(move |db| facts(db, &queue)).await;
        facts.map_err(|fault| self.inner.broker_error(fault))
    }

    async fn unrouted(&self) -> Result<u64, BrokerError> {
        // There are none: see `nothing_ever`.
        Ok(0)
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    async fn check(&self, _queues: &[QueueName]) -> Vec<Finding> {
        // The file is both, and the store's check looks at all of it.
        Vec::new()
    }

    async fn close(&self) {
        self.shut().await;
    }
}

impl Inner {
    async fn post(self: &Arc<Self>, chunk: Vec<Publication>) -> Result<(), Fault> {
        let now = Timestamp::now();
        let letters: Vec<Letter> = chunk
            .into_iter()
            .filter_map(|publication| Letter::new(publication, now).transpose())
            .collect::<Result<_, _>>()?;
        let wakes: BTreeSet<(QueueName, i64)> = letters
            .iter()
            .filter_map(Letter::wakes)
            .map(|(queue, lane)| (queue.clone(), lane))
            .collect();
        let weight = letters.len();
        let post = move |txn: &Txn<'_>| letters.iter().try_for_each(|letter| letter.post(txn.db));
        self.writer.call(weight, OnDisk::Now, post).await?;
        for (queue, lane) in &wakes {
            self.hub.wake(queue, *lane);
        }
        Ok(())
    }
}

/// A message for a queue that nobody declared waits in the file until somebody does: there are
/// no lost sheep to look after.
fn nothing_ever() -> Inbox {
    let (inbox, deliveries) = mpsc::channel(1);
    tokio::spawn(async move { inbox.closed().await });
    Inbox(deliveries)
}

fn facts(db: &Connection, queue: &QueueName) -> Result<QueueFacts, Fault> {
    must_exist(db, queue)?;
    let count = |table: &str, lane: i64| {
        let sql = format!("SELECT count(*) FROM {table} WHERE queue = ?1 AND lane = ?2");
        let count: i64 = db
            .prepare_cached(&sql)?
            .query_row((&**queue, lane), |row| row.get(0))?;
        Ok::<_, Fault>(count.unsigned_abs())
    };
    let mut facts = QueueFacts::default();
    for (lane, of) in (0..).zip(&mut facts.lanes) {
        of.ready = count("ready", lane)?;
        of.consumers = count("consumers", lane)?;
    }
    facts.dead = count("ready", DEAD)?;
    Ok(facts)
}
