//! A producer, workers and what is between them: the vocabulary of the tests of a job's life.

use std::{fmt::Debug, future::Future, time::Duration};

use haul_common::{
    connect::{Backend, Urls},
    job::{Attempt, Backoff, JobId, Lane, Outcome, Reason, Record, StateKind, Task},
    life::{Illegal, Life, Step},
    ports::{Applied, Change, Confirm, LaneFacts, Publication, Route, WorkerInfo},
    wire::{Message, topology::Namespace},
};
use haul_producer::{Job, Producer, Submit};
use haul_worker::{Running, Worker};
use lapin::{Channel, Connection, ConnectionProperties};

use crate::{
    backends::{After, amqp_url, namespace, rabbitmq_at, redis_at, redis_url},
    jobs::{found, queue},
    scripted::{self, Act, Desk, Scripted},
    wait::eventually,
};

/// Plenty for whatever has to happen, on a machine that does ten other things.
pub const LONG: Duration = Duration::from_secs(90);

/// One pair of backends, a producer over it, and as many workers as a test asks for.
#[derive(Debug)]
pub struct Fleet {
    /// The way in.
    pub producer: Producer,
    /// What handlers share with the test.
    pub desk: Desk,
    urls: Urls,
    namespace: Option<Namespace>,
    _after: Vec<Box<dyn After>>,
}

impl Fleet {
    /// One SQLite file.
    pub async fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("haul.db").display());
        Self::over(url.as_str().into(), None, vec![Box::new(dir)]).await
    }

    /// RabbitMQ and Redis.
    pub async fn fleet() -> Self {
        let namespace = namespace();
        let broker = rabbitmq_at(amqp_url(), namespace.clone()).await;
        let store = redis_at(redis_url(), namespace.clone()).await;
        let urls = Urls {
            broker: amqp_url(),
            store: Some(redis_url()),
            namespace: Some(namespace.as_str().to_owned()),
        };
        Self::over(
            urls,
            Some(namespace),
            vec![Box::new(broker), Box::new(store)],
        )
        .await
    }

    async fn over(urls: Urls, namespace: Option<Namespace>, after: Vec<Box<dyn After>>) -> Self {
        let producer = Producer::connect(urls.clone()).await.unwrap();
        // A busy server takes its time over the first topology, more than a worker would give it.
        let (broker, queues) = (&producer.backend().broker, [queue("default")]);
        let declare = || broker.declare(&queues);
        eventually("the default queue", LONG, declare).await;
        Self {
            producer,
            desk: Desk::default(),
            urls,
            namespace,
            _after: after,
        }
    }

    /// Broker and store.
    pub fn backend(&self) -> &Backend {
        self.producer.backend()
    }

    /// For what connects by itself.
    pub fn urls(&self) -> Urls {
        self.urls.clone()
    }

    /// A worker with connections of its own that has been put together by `change`, and is ready.
    pub async fn worker(&self, change: impl FnOnce(Worker<Desk>) -> Worker<Desk>) -> Running {
        let worker = Worker::connect(self.urls()).await.unwrap();
        let running = change(worker.state(self.desk.clone())).start().await;
        let running = running.unwrap();
        within("a worker to be ready", running.ready()).await;
        running
    }

    /// A worker with four slots for [`Scripted`] jobs.
    pub async fn scripted(&self) -> Running {
        self.scripted_with(4).await
    }

    /// A worker with so many slots for [`Scripted`] jobs.
    pub async fn scripted_with(&self, slots: u32) -> Running {
        self.worker(|w| w.queue("default", slots).handle(scripted::run))
            .await
    }

    /// A [`Scripted`] job on its way, which does not wait long between attempts.
    pub fn job(&self, acts: impl Into<Vec<Act>>) -> Submit<'_, Scripted> {
        self.named("done", acts)
    }

    /// As [`Fleet::job`], with a name.
    pub fn named(&self, name: &str, acts: impl Into<Vec<Act>>) -> Submit<'_, Scripted> {
        let (name, acts) = (name.to_owned(), acts.into());
        let backoff = Backoff::fixed(Duration::from_millis(100)).unwrap();
        self.producer
            .submit(Scripted { name, acts })
            .backoff(backoff)
    }

    /// Submits a [`Scripted`] job.
    pub async fn submit(&self, acts: impl Into<Vec<Act>>) -> Job<Scripted> {
        self.job(acts).await.unwrap()
    }

    /// What is known of a job, which must be known.
    pub async fn find(&self, id: &JobId) -> Record {
        found(&*self.backend().store, id).await
    }

    /// The record of a job, once it has ended.
    pub async fn ended(&self, id: &JobId) -> Record {
        self.once(id, "its end", |record| {
            record.life.state.kind().is_terminal()
        })
        .await
    }

    /// The record of a job, once it is in this state.
    pub async fn reaches(&self, id: &JobId, state: StateKind) -> Record {
        self.once(id, state.as_str(), |record| {
            record.life.state.kind() == state
        })
        .await
    }

    /// The record of a job, once it is what `is` looks for.
    pub async fn once(&self, id: &JobId, what: &str, is: impl Fn(&Record) -> bool) -> Record {
        eventually(&format!("job {id}: {what}"), LONG, || async {
            match self.producer.find(id).await.unwrap() {
                Some(record) if is(&record) => Ok(record),
                seen => Err(seen.map(|record| record.life)),
            }
        })
        .await
    }

    /// Waits until `count` things were said about a job: it was started so often.
    pub async fn started(&self, id: &JobId, count: usize) {
        until(&format!("start {count} of job {id}"), || async {
            self.desk.starts(id) >= count
        })
        .await;
    }

    /// Publishes a message beside the producer, as a foreign client does.
    pub async fn publish(&self, message: Message, route: Route) {
        let confirms = self
            .backend()
            .broker
            .publish(vec![Publication { message, route }])
            .await;
        assert_eq!(confirms, [Confirm::Accepted]);
    }

    /// Publishes a message to the normal lane of the default queue.
    pub async fn post(&self, message: Message) {
        self.publish(message, Route::Lane(queue("default"), Lane::Normal))
            .await;
    }

    /// What waits in a lane of the default queue.
    pub async fn lane(&self, lane: Lane) -> LaneFacts {
        let facts = self.backend().broker.facts(&queue("default")).await;
        facts.unwrap().lanes[lane.index()]
    }

    /// How many dead letters the default queue has.
    pub async fn dead_letters(&self) -> u64 {
        let facts = self.backend().broker.facts(&queue("default")).await;
        facts.unwrap().dead
    }

    /// Waits until a lane of the default queue has so many messages that no consumer has.
    pub async fn ready(&self, lane: Lane, count: u64) {
        until(
            &format!("{count} ready messages in lane {lane}"),
            || async { self.lane(lane).await.ready == count },
        )
        .await;
    }

    /// Applies a transition behind everybody's back.
    pub async fn apply(&self, id: &JobId, make: impl FnOnce(&Life) -> Result<Step, Illegal>) {
        let step = make(&self.find(id).await.life).unwrap();
        let change = Change {
            id: id.clone(),
            step,
            expires: None,
            edit: None,
        };
        let applied = self.backend().store.apply(change).await.unwrap();
        assert!(matches!(applied, Applied::Done), "{applied:?}");
    }

    /// The workers that are alive.
    pub async fn workers(&self) -> Vec<WorkerInfo> {
        self.producer.workers().await.unwrap()
    }

    /// A channel of its own to the RabbitMQ, and the names there.
    pub async fn amqp(&self) -> (Connection, Channel, Namespace) {
        let connection = Connection::connect(&amqp_url(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let namespace = self.namespace.clone();
        (connection, channel, namespace.unwrap())
    }
}

/// How the attempts of a record ended: number and outcome.
pub fn history(record: &Record) -> Vec<(u32, Outcome)> {
    let short = |attempt: &Attempt| (attempt.number, attempt.outcome);
    record.attempts.iter().map(short).collect()
}

/// Why a record is dead.
///
/// # Panics
/// When it is not.
pub fn reason(record: &Record) -> Reason {
    let reason = record.life.state.reason();
    reason.unwrap_or_else(|| panic!("not dead: {record:?}"))
}

/// What a job returned, within [`LONG`].
pub async fn result<T: Task>(job: &Job<T>) -> T::Output {
    job.wait(LONG).await.unwrap()
}

/// Waits until `look` says yes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> F) {
    eventually(what, LONG, || {
        let looked = look();
        async move { if looked.await { Ok(()) } else { Err("no") } }
    })
    .await;
}

/// What `future` gives, within [`LONG`].
///
/// # Panics
/// Says what was awaited when that takes longer.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LONG, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {LONG:?} for: {what}"),
    }
}

/// Runs each claim over an embedded pair and over a fleet.
#[macro_export]
macro_rules! on_both {
    ($($claim:ident),* $(,)?) => {
        mod embedded {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim($crate::fleet::Fleet::embedded().await).await;
            }
        )*}
        $crate::on_fleet! { $($claim),* }
    };
}

/// Runs each claim over a fleet: what only RabbitMQ can do.
#[macro_export]
macro_rules! on_fleet {
    ($($claim:ident),* $(,)?) => {
        mod fleet {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                super::$claim($crate::fleet::Fleet::fleet().await).await;
            }
        )*}
    };
}
