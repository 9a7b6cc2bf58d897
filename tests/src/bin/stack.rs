//! The producer and the auditor of `tests/stack`, within the stack's own network.
//!
//! * `stack submit BATCH COUNT RATE`: so many `haul.echo` jobs a second, `BATCH-000000` and on;
//!   one that is refused is submitted again under its id.
//! * `stack audit BATCH COUNT SECONDS`: waits until all have ended, no longer than that, and looks
//!   at every one's record. Prints one line; ends with 1 if a job is missing or did not succeed.

use std::{env, fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt, stream};
use haul_common::{
    connect::Urls,
    job::{BatchId, Record},
};
use haul_producer::{Producer, StateKind, Task};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The built-in task.
#[derive(serde::Serialize, serde::Deserialize)]
struct Echo(usize);

impl Task for Echo {
    const NAME: &'static str = "haul.echo";
    type Output = usize;
}

/// So many times a second something is submitted.
const TICKS_PER_S: usize = 20;
/// Records that are asked for at once.
const FINDS_AT_ONCE: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let secret = |name: &str| -> Result<String> {
        let path = env::var(name).with_context(|| name.to_owned())?;
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        Ok(text.trim().to_owned())
    };
    let urls = Urls {
        broker: secret("HAUL_BROKER_FILE")?,
        store: Some(secret("HAUL_STORE_FILE")?),
        namespace: env::var("HAUL_NAMESPACE").ok(),
    };
    let producer = Producer::connect(urls).await?;
    match args.as_slice() {
        ["submit", batch, count, rate] => {
            submit(&producer, batch, count.parse()?, rate.parse()?).await
        }
        ["audit", batch, count, seconds] => {
            let limit = Duration::from_secs(seconds.parse()?);
            audit(&producer, batch, count.parse()?, limit).await
        }
        _ => bail!("stack submit BATCH COUNT RATE | audit BATCH COUNT SECONDS"),
    }
}

fn id(batch: &str, number: usize) -> String {
    format!("{batch}-{number:06}")
}

async fn submit(producer: &Producer, batch: &str, count: usize, rate: usize) -> Result<()> {
    let mut tick = interval(Duration::from_secs(1) / u32::try_from(TICKS_PER_S)?);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let name: BatchId = batch.parse()?;
    let mut left: Vec<usize> = (0..count).rev().collect();
    while !left.is_empty() {
        tick.tick().await;
        let chunk = left.split_off(left.len().saturating_sub(rate.div_ceil(TICKS_PER_S)));
        let jobs = chunk.iter().map(|number| {
            let job = producer.submit(Echo(*number)).batch(name.clone());
            job.id(id(batch, *number).as_str())
        });
        let answers = producer.submit_many(jobs).await;
        ensure!(answers.len() == chunk.len(), "an answer is missing");
        for (number, answer) in chunk.iter().zip(answers) {
            if let Err(error) = answer {
                eprintln!("{}: {error}; again", id(batch, *number));
                left.push(*number);
            }
        }
    }
    println!("submitted={count}");
    Ok(())
}

async fn audit(producer: &Producer, batch: &str, count: usize, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        let records = find_all(producer, batch, count).await?;
        let ended = |record: &Record| record.life.state.finished().is_some();
        let open = records
            .iter()
            .filter(|record| !record.as_ref().is_some_and(ended))
            .count();
        if open == 0 || Instant::now() > end {
            return report(&records, open);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn find_all(producer: &Producer, batch: &str, count: usize) -> Result<Vec<Option<Record>>> {
    let finds = (0..count).map(|number| async move {
        let id = id(batch, number).parse()?;
        anyhow::Ok(producer.find(&id).await?)
    });
    let found: Vec<_> = stream::iter(finds).buffered(FINDS_AT_ONCE).collect().await;
    found.into_iter().collect()
}

fn report(records: &[Option<Record>], open: usize) -> Result<()> {
    let known: Vec<&Record> = records.iter().flatten().collect();
    let missing = records.len() - known.len();
    let succeeded = known
        .iter()
        .filter(|record| record.life.state.kind() == StateKind::Succeeded)
        .count();
    // A job runs once if it has one attempt, its first: a second one, however the first ended, is
    // in the record.
    let repeated: Vec<&&Record> = known
        .iter()
        .filter(|record| record.attempts.len() != 1 || record.life.attempt != 1)
        .collect();
    for record in repeated.iter().take(20) {
        let outcomes: Vec<_> = record.attempts.iter().map(|one| one.outcome).collect();
        eprintln!("{}: {:?}", record.spec.id, outcomes);
    }
    println!(
        "submitted={} succeeded={succeeded} missing={missing} open={open} repeated={}",
        records.len(),
        repeated.len()
    );
    ensure!(succeeded == records.len(), "not every job succeeded");
    Ok(())
}
