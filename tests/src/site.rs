//! A pair that several processes use: its URLs, a ledger, and the claims that every fault test
//! ends with.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use haul_common::{
    connect::{Backend, Urls},
    job::{JobId, Outcome, Record, StateKind, WorkerId},
    ports::QueueFacts,
};
use haul_producer::{Producer, Submit};

use crate::{
    backends::{self, After},
    rollback::Memory,
    wait::{SOON, eventually},
    worker_process::{Ledger, QUEUE, Script},
};

/// Which pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RabbitMQ and Redis.
    Fleet,
    /// One SQLite file.
    Embedded,
}

/// Both pairs.
pub const BOTH: [Kind; 2] = [Kind::Embedded, Kind::Fleet];

/// A pair that several processes use.
#[derive(Debug)]
pub struct Site {
    urls: Urls,
    /// What this process uses, whatever happens to the workers' connections.
    pub producer: Producer,
    dir: tempfile::TempDir,
    _after: Vec<Box<dyn After>>,
}

impl Site {
    /// A pair of this kind.
    pub async fn of(kind: Kind) -> Self {
        match kind {
            Kind::Fleet => Self::fleet(&backends::amqp_url(), &backends::redis_url()).await,
            Kind::Embedded => Self::embedded().await,
        }
    }

    /// One file.
    pub async fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("haul.db").display());
        let urls = Urls::from(url.as_str());
        Self {
            producer: Producer::connect(urls.clone()).await.unwrap(),
            urls,
            dir,
            _after: Vec::new(),
        }
    }

    /// These servers.
    pub async fn fleet(amqp: &str, redis: &str) -> Self {
        // One after the other: forty quorum queues at a time are enough for a small server.
        static SETTING_UP: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = SETTING_UP.lock().await;
        let namespace = backends::namespace();
        let broker = backends::rabbitmq_at(amqp.to_owned(), namespace.clone()).await;
        let store = backends::redis_at(redis.to_owned(), namespace.clone()).await;
        let queues = [QUEUE.parse().unwrap()];
        eventually("its queues to be declared", SOON, || {
            broker.it.declare(&queues)
        })
        .await;
        let backend = Backend {
            broker: broker.it.clone(),
            store: store.it.clone(),
            embedded: false,
        };
        Self {
            urls: Urls {
                broker: amqp.to_owned(),
                store: Some(redis.to_owned()),
                namespace: Some(namespace.as_str().to_owned()),
            },
            producer: Producer::new(backend),
            dir: tempfile::tempdir().unwrap(),
            _after: vec![Box::new(broker), Box::new(store)],
        }
    }

    /// Its URLs by way of these addresses.
    pub fn urls(&self, amqp: &str, redis: &str) -> Urls {
        Urls {
            broker: amqp.to_owned(),
            store: Some(redis.to_owned()),
            namespace: self.urls.namespace.clone(),
        }
    }

    /// Workers that are spawned from now on use these URLs: those of proxies.
    pub fn workers_use(&mut self, amqp: &str, redis: &str) {
        self.urls = self.urls(amqp, redis);
    }

    /// What a process of this site finds in its environment.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![("HAUL_BROKER", self.urls.broker.clone())];
        env.extend(self.urls.store.clone().map(|url| ("HAUL_STORE", url)));
        env.extend(
            self.urls
                .namespace
                .clone()
                .map(|name| ("HAUL_NAMESPACE", name)),
        );
        env
    }

    /// What its Redis knows now.
    pub fn memory(&self) -> Memory {
        let (store, namespace) = (&self.urls.store, &self.urls.namespace);
        Memory::of(store.as_ref().unwrap(), namespace.as_ref().unwrap())
    }

    /// Where workers write what they did.
    pub fn ledger_path(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    /// What they did until now.
    pub fn ledger(&self) -> Ledger {
        Ledger::read(Path::new(&self.ledger_path()))
    }

    /// A job of this script, quick to retry, to be submitted when awaited.
    pub fn job(&self, lines: &[&str]) -> Submit<'_, Script> {
        let quick = "fixed(200ms)".parse().unwrap();
        self.producer.submit(Script::new(lines)).backoff(quick)
    }

    /// Submits one.
    pub async fn submit(&self, lines: &[&str]) -> JobId {
        self.job(lines).await.unwrap().id().clone()
    }

    /// Submits many of the same script.
    pub async fn submit_many(&self, count: usize, lines: &[&str]) -> Vec<JobId> {
        let jobs = (0..count).map(|_| self.job(lines));
        let jobs = self.producer.submit_many(jobs).await;
        jobs.into_iter()
            .map(|job| job.unwrap().id().clone())
            .collect()
    }

    /// The record, which must be there.
    pub async fn record(&self, id: &JobId) -> Record {
        crate::jobs::found(&*self.producer.backend().store, id).await
    }

    /// Waits until the ledger has at least so many of these.
    pub async fn did(&self, what: &str, times: usize, limit: Duration) {
        eventually(&format!("{times} × {what}"), limit, || async {
            let seen = self.ledger().total(what);
            if seen >= times { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Waits until the store is old enough to call a worker dead.
    pub async fn can_judge(&self) {
        let (store, nobody) = (&self.producer.backend().store, WorkerId::random());
        eventually("the store to be old enough to judge", SOON, || async {
            match store.is_alive(&nobody, false).await {
                Ok(false) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Waits until the job has ended, and gives its record.
    pub async fn ended(&self, id: &JobId, limit: Duration) -> Record {
        eventually(&format!("the end of {id}"), limit, || async {
            match self.producer.find(id).await {
                Ok(Some(record)) if record.life.state.kind().is_terminal() => Ok(record),
                other => Err(other),
            }
        })
        .await
    }

    /// Waits until all have succeeded.
    pub async fn all_succeed(&self, ids: &[JobId], limit: Duration) {
        let end = std::time::Instant::now() + limit;
        for id in ids {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let record = self.ended(id, left).await;
            assert_eq!(record.life.state.kind(), StateKind::Succeeded, "{record:?}");
            let won = |attempt: &&haul_common::job::Attempt| attempt.outcome == Outcome::Succeeded;
            let completions = record.attempts.iter().filter(won).count();
            assert_eq!(completions, 1, "{record:?}");
        }
    }

    /// Waits until no message is left but so many dead letters.
    pub async fn is_empty(&self, dead: u64, limit: Duration) {
        let queue = QUEUE.parse().unwrap();
        eventually("no message left", limit, || async {
            match self.producer.backend().broker.facts(&queue).await {
                Ok(facts) if ready(&facts) == 0 && facts.dead == dead => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
}

fn ready(facts: &QueueFacts) -> u64 {
    facts.lanes.iter().map(|lane| lane.ready).sum()
}

/// How its attempts ended, oldest first.
pub fn outcomes(record: &Record) -> Vec<Outcome> {
    record
        .attempts
        .iter()
        .map(|attempt| attempt.outcome)
        .collect()
}
