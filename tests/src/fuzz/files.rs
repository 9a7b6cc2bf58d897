//! The file of the embedded pair, damaged anywhere.

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use haul_common::{
    filter::Filter,
    job::{Lane, Record, WorkerId},
    ports::{Broker, Claim, PageRequest, Source as From, Store, StoreError},
    sqlite::Sqlite,
};
use tokio::{runtime::Runtime, time::timeout};

use super::{Target, Verdict, mutate::Source, refused};
use crate::jobs::{queue, record, running, spec, to_lane};

const JOBS: u64 = 60;
/// Longer than any wait within.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn targets() -> [Target; 1] {
    [Target {
        name: "sqlite-file",
        share: 300,
        source: Source {
            corpus: vec![template()],
            words: &[],
            make: Some(torn),
            keeps_length: true,
        },
        read: open,
    }]
}

/// A file with jobs and messages in it.
fn template() -> Vec<u8> {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("haul.db");
        runtime().block_on(async {
            let db = Sqlite::open(&path).await.unwrap();
            db.declare(&[queue("default")]).await.unwrap();
            for n in 0..JOBS {
                let job = job(n);
                match n % 3 {
                    0 => drop(running(&*db, &job.spec, &WorkerId::random()).await),
                    _ => drop(db.create(vec![job]).await.unwrap()),
                }
                let letter = to_lane("default", Lane::Normal, n);
                db.publish(vec![letter]).await;
            }
            Broker::close(&*db).await;
        });
        fs::read(path).unwrap()
    };
    FILE.get_or_init(make).clone()
}

fn job(n: u64) -> Record {
    let mut job = record(spec("default", n));
    job.spec.id = format!("job-{n}").parse().unwrap();
    job
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// A file that ends early, or lost pages.
fn torn(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut file = template();
    let page = 4096;
    let at = rng.usize(..file.len() / page) * page;
    match rng.u8(..3) {
        0 => file.truncate(rng.usize(..file.len())),
        1 => file[at..at + page].fill(0),
        _ => {
            let other = rng.usize(..file.len() / page) * page;
            let copy = file[other..other + page].to_vec();
            file[at..at + page].copy_from_slice(&copy);
        }
    }
    file
}

fn open(input: &[u8]) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haul.db");
    fs::write(&path, input).unwrap();
    let looked = runtime().block_on(async { timeout(LIMIT, look_into(&path)).await });
    match looked.expect("an answer in time") {
        Ok(()) => Verdict::Accepted,
        Err(error) => refused(&error),
    }
}

async fn look_into(path: &Path) -> Result<(), StoreError> {
    let db = Sqlite::open(path).await?;
    let looked = look(&db).await;
    Broker::close(&*db).await;
    looked
}

/// Asks everything that commands and workers ask. The first error is the answer.
async fn look(db: &Sqlite) -> Result<(), StoreError> {
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    let listed = db.list(&Filter::default(), page).await?;
    assert!(listed.records.len() <= 100);
    db.counts().await?;
    let page = PageRequest {
        limit: 100,
        after: None,
    };
    db.batches(page).await?;
    db.scripts().await?;
    db.orphans(&WorkerId::random(), &|_| false, 100).await?;
    for n in (0..JOBS).step_by(7) {
        let wanted = job(n).spec;
        let found = db.find(&wanted.id).await?;
        if let Some(record) = found {
            assert_eq!(record.spec.id, wanted.id, "another job's record");
        }
        db.saved(&wanted.id).await?;
        let claim = Claim {
            id: wanted.id.clone(),
            attempt: 1,
            digest: wanted.digest(),
            worker: WorkerId::random(),
            record: None,
        };
        db.claim(claim).await?;
    }
    db.expire(10).await?;
    receive(db).await;
    Ok(())
}

/// Takes what there is: a lane that gives nothing is one of the ways to be damaged.
async fn receive(db: &Sqlite) {
    let from = From::Lane(queue("default"), Lane::Normal);
    let Ok(mut inbox) = db.consume(from, 8).await else {
        return;
    };
    while let Ok(Some(delivery)) = timeout(Duration::from_millis(20), inbox.0.recv()).await {
        delivery.settlement.ack();
    }
}
