//! What only this adapter promises. Two `Sqlite`s on one path stand for two processes: nothing is
//! shared between them but the file.

mod batches;
mod jobs;
mod listening;
mod messages;
mod opening;

use std::{future::Future, sync::Arc, time::Duration};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

use super::Sqlite;
use crate::{
    filter::Filter,
    job::{Envelope, Fence, JobId, Lane, QueueName, Record, Spec, StateKind, WorkerId, json},
    life::{Ended, Life, Step, judge},
    ports::{
        Applied, Broker, Change, Claim, Claimed, Confirm, Created, Delivery, Inbox, PageRequest,
        Publication, Route, Source, Store, StoreError, Topic,
    },
    time::Timestamp,
    wire::encode,
};

const SOON: Duration = Duration::from_secs(5);

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("haul.db")
    }

    async fn open(&self) -> Arc<Sqlite> {
        Sqlite::open(&self.path()).await.unwrap()
    }

    /// What another program would do to the file.
    fn poke(&self, sql: &str) {
        let db = Connection::open(self.path()).unwrap();
        db.busy_timeout(SOON).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn ask(&self, sql: &str) -> i64 {
        let db = Connection::open(self.path()).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn queue() -> QueueName {
    "mail".parse().unwrap()
}

fn spec() -> Spec {
    Spec::new("email.send".parse().unwrap(), queue(), json(&1).unwrap())
}

fn record(spec: &Spec) -> Record {
    Record::new(spec.clone(), Life::queued(), Timestamp::now())
}

fn publication(spec: &Spec, route: Route) -> Publication {
    Publication {
        message: encode(&Envelope::first(spec.clone(), None)),
        route,
    }
}

fn lane() -> Route {
    Route::Lane(queue(), Lane::Normal)
}

async fn publish(sqlite: &Sqlite, route: Route) -> JobId {
    let spec = spec();
    let confirms = sqlite.publish(vec![publication(&spec, route)]).await;
    assert_eq!(confirms, [Confirm::Accepted]);
    spec.id
}

async fn consume(sqlite: &Sqlite, prefetch: u16) -> Inbox {
    sqlite.declare(&[queue()]).await.unwrap();
    let source = Source::Lane(queue(), Lane::Normal);
    sqlite.consume(source, prefetch).await.unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("did not come in time")
}

async fn next(inbox: &mut Inbox) -> Delivery {
    soon(inbox.0.recv()).await.expect("the inbox ended")
}

fn id(delivery: &Delivery) -> &str {
    delivery.message.head.message_id.as_deref().unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    soon(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn claim(spec: &Spec) -> Claim {
    Claim {
        id: spec.id.clone(),
        attempt: 1,
        digest: spec.digest(),
        worker: WorkerId::random(),
        record: None,
    }
}

async fn run(sqlite: &Sqlite, spec: &Spec) -> Life {
    match sqlite.claim(claim(spec)).await.unwrap() {
        Claimed::Granted(grant) => grant.life,
        other => panic!("{other:?}"),
    }
}

fn change(spec: &Spec, step: Step) -> Change {
    let expires = step.life.state.finished();
    Change {
        id: spec.id.clone(),
        step,
        expires,
        edit: None,
    }
}

fn success(life: &Life, spec: &Spec) -> Step {
    let ended = Ended::Succeeded(json(&"done").unwrap());
    judge(life, spec, ended, Timestamp::now(), 0.5).unwrap()
}

/// The tallies must be what counting would find.
fn assert_tallied(file: &File) {
    let wrong = file.ask(
        "SELECT count(*) FROM (
           SELECT queue, state, jobs FROM tallies WHERE jobs <> 0
           EXCEPT SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2)",
    );
    let missing = file.ask(
        "SELECT count(*) FROM (
           SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2
           EXCEPT SELECT queue, state, jobs FROM tallies)",
    );
    assert_eq!((wrong, missing), (0, 0));
    let count = "sum(state = 'blocked'), sum(state = 'scheduled'), sum(state = 'queued'),
        sum(state = 'running'), sum(state = 'retrying'), sum(state = 'succeeded'),
        sum(state = 'dead'), sum(state = 'cancelled')";
    let jobs = format!(
        "SELECT batch, min(created), {count} FROM jobs WHERE batch IS NOT NULL GROUP BY batch"
    );
    for (one, other) in [
        ("SELECT * FROM batches", &*jobs),
        (&jobs, "SELECT * FROM batches"),
    ] {
        let sql = format!("SELECT count(*) FROM ({one} EXCEPT {other})");
        assert_eq!(file.ask(&sql), 0, "{sql}");
    }
}
