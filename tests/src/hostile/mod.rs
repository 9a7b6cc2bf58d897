//! Malformed messages among good ones, through a real broker, past a real worker process.
//!
//! Both kinds are published beside Haul, by hand, at a steady rate: the good ones alone at first,
//! then together with as many bad ones; last come some that are a burden for the broker itself. `bad`
//! is what they are.

mod bad;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use haul_common::{
    filter::Filter,
    job::{BODY_BYTES_MAX, Envelope, JobId, Reason, Record, Spec, StateKind, json},
    ports::PageRequest,
    time::Timestamp,
    wire::{encode, topology::Namespace},
};
use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use tokio::time::Instant;

use self::bad::{Posted, TAKEN, bad, heavy};
use crate::{
    backends::amqp_url,
    raw_amqp::{Properties, Raw, entry, long},
    site::Site,
    worker_process::{QUEUE, Script, WorkerProcess},
};

/// How much is published.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bad messages, and as many good ones, twice.
    pub count: u64,
    /// Of each, in a second.
    pub rate: u64,
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// From publishing to the end, good ones alone: p50, p99.
    pub alone: [Duration; 2],
    /// The same, beside bad ones.
    pub beside: [Duration; 2],
    /// Bad messages that are dead jobs, by reason.
    pub dead: HashMap<Reason, u64>,
    /// The most memory that the worker ever had, in MiB.
    pub worker_mib: u64,
}

/// When each good job was published.
type Published = HashMap<JobId, Timestamp>;

const TICK: Duration = Duration::from_millis(20);

/// Runs the plan against a worker of this site.
///
/// # Panics
/// When a good job is not done, a bad message is not kept, or the worker is gone.
pub async fn run(site: &Site, worker: &mut WorkerProcess, plan: Plan) -> Report {
    // A good client does not wait for a bad one.
    let mut raws = [
        Raw::connect(&address()).await,
        Raw::connect(&address()).await,
    ];
    let names = namespace(site);
    let jobs = names.jobs();
    let taken = good(TAKEN.parse().unwrap());
    raws[0]
        .publish(&jobs, &taken.key, &taken.properties, &taken.body)
        .await;
    let alone = publish(&mut raws, &jobs, plan, &mut |_| None).await;
    settles(site, worker, [plan.count + 1, 0]).await;
    let mut bodies = HashSet::new();
    let beside = publish(&mut raws, &jobs, plan, &mut |n| {
        let message = bad(n);
        bodies.insert(fingerprint(&message.body));
        Some(message)
    })
    .await;
    settles(site, worker, [2 * plan.count + 1, plan.count]).await;
    let heavy = heavy();
    let bad_ones = plan.count + heavy.len() as u64;
    for message in heavy {
        bodies.insert(fingerprint(&message.body));
        raws[1]
            .publish(&jobs, &message.key, &message.properties, &message.body)
            .await;
    }
    raws[1].confirmed().await;
    settles(site, worker, [2 * plan.count + 1, bad_ones]).await;
    let dead = every_bad_one_is_kept(site, &bodies).await;
    assert_eq!(dead.values().sum::<u64>(), bad_ones);
    nothing_is_astray(&names).await;
    assert!(worker.is_running(), "{}", worker.log());
    Report {
        alone: latencies(site, &alone).await,
        beside: latencies(site, &beside).await,
        dead,
        worker_mib: worker.peak_memory_kib() / 1024,
    }
}

fn address() -> String {
    let url: url::Url = amqp_url().parse().unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672))
}

fn namespace(site: &Site) -> Namespace {
    let env = site.env();
    let name = env.iter().find(|(name, _)| *name == "HAUL_NAMESPACE");
    Namespace::new(&name.unwrap().1).unwrap()
}

fn good(id: JobId) -> Posted {
    let args = json(&Script::new(&["ok"])).unwrap();
    let mut spec = Spec::new("test.script".parse().unwrap(), QUEUE.parse().unwrap(), args);
    spec.id = id;
    let message = encode(&Envelope::first(spec, None));
    let own = |text: Option<String>| text.map(String::into_bytes);
    let properties = Properties {
        content_type: own(message.head.content_type),
        message_id: own(message.head.message_id),
        kind: own(message.head.kind),
        headers: Some(entry(b"tags", b'S', &long(b"good"))),
        ..Properties::default()
    };
    Posted {
        key: QUEUE.into(),
        properties: properties.bytes(),
        body: message.body.to_vec(),
    }
}

/// Publishes good ones at the plan's rate, and beside them bad ones, if there are any.
async fn publish(
    raws: &mut [Raw; 2],
    exchange: &str,
    plan: Plan,
    bad: &mut impl FnMut(u64) -> Option<Posted>,
) -> Published {
    let [good_ones, bad_ones] = raws;
    let (mut published, began) = (Published::new(), Instant::now());
    let pace = async |n: u64, raw: &mut Raw| {
        let due = Duration::from_secs(n) / u32::try_from(plan.rate).unwrap();
        if began.elapsed() < due {
            raw.flush().await;
            tokio::time::sleep_until(began + due.max(began.elapsed() + TICK)).await;
        }
    };
    let good = async {
        for n in 0..plan.count {
            pace(n, good_ones).await;
            let id = JobId::new();
            let message = good(id.clone());
            published.insert(id, Timestamp::now());
            good_ones
                .publish(exchange, &message.key, &message.properties, &message.body)
                .await;
        }
        good_ones.confirmed().await;
    };
    let bad = async {
        for n in 0..plan.count {
            let Some(message) = bad(n) else { break };
            pace(n, bad_ones).await;
            bad_ones
                .publish(exchange, &message.key, &message.properties, &message.body)
                .await;
        }
        bad_ones.confirmed().await;
    };
    tokio::join!(good, bad);
    published
}

/// Waits until so many jobs have succeeded, and so many are dead. As long as numbers move.
async fn settles(site: &Site, worker: &mut WorkerProcess, wanted: [u64; 2]) {
    let patience = Duration::from_secs(60);
    let (mut last, mut since) = ([0; 2], Instant::now());
    while last != wanted {
        assert!(worker.is_running(), "{}", worker.log());
        let seen = ended(site).await;
        if seen != last {
            (last, since) = (seen, Instant::now());
        }
        assert!(
            since.elapsed() < patience && seen[1] <= wanted[1],
            "{seen:?} instead of {wanted:?} succeeded and dead: {}",
            worker.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ended(site: &Site) -> [u64; 2] {
    let counts = site.producer.counts().await.unwrap();
    let sum = |state: StateKind| {
        let of = |queue: &haul_common::ports::QueueCounts| queue.states.get(&state).copied();
        counts.iter().filter_map(of).sum()
    };
    [sum(StateKind::Succeeded), sum(StateKind::Dead)]
}

/// What tells bodies apart, as far as they are kept.
fn fingerprint(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body[..body.len().min(BODY_BYTES_MAX)].hash(&mut hasher);
    hasher.finish()
}

/// Looks at every dead job, and at the bytes of every tenth.
async fn every_bad_one_is_kept(site: &Site, bodies: &HashSet<u64>) -> HashMap<Reason, u64> {
    let filter: Filter = "state:dead".parse().unwrap();
    let (mut after, mut reasons, mut seen) = (None, HashMap::new(), 0);
    loop {
        let page = PageRequest { limit: 500, after };
        let listing = site.producer.list(&filter, page).await.unwrap();
        for record in listing.records {
            assert!(record.life.error.is_some(), "{record:?}");
            *reasons
                .entry(record.life.state.reason().unwrap())
                .or_default() += 1;
            if seen % 10 == 0 {
                let whole = site.record(&record.spec.id).await;
                let kept = fingerprint(bytes(&whole));
                assert!(bodies.contains(&kept), "not the bytes that came: {whole:?}");
            }
            seen += 1;
        }
        after = listing.next;
        if after.is_none() {
            break;
        }
    }
    reasons
}

fn bytes(record: &Record) -> &[u8] {
    let args = record.spec.args.get().as_bytes();
    record.raw.as_deref().unwrap_or(args)
}

/// No message is left where those go that no queue wants.
async fn nothing_is_astray(names: &Namespace) {
    let url = amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let look = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let name = names.unrouted();
    let queue = channel.queue_declare(name.as_str().into(), look, FieldTable::default());
    assert_eq!(queue.await.unwrap().message_count(), 0);
}

/// From publishing to the end: p50 and p99.
async fn latencies(site: &Site, published: &Published) -> [Duration; 2] {
    let took = |(id, at): (&JobId, &Timestamp)| {
        let (id, at) = (id.clone(), *at);
        async move {
            let record = site.record(&id).await;
            assert_eq!(record.life.state.kind(), StateKind::Succeeded, "{record:?}");
            record.life.state.finished().unwrap().since(at)
        }
    };
    let looks = stream::iter(published.iter().map(took)).buffer_unordered(64);
    let mut all: Vec<Duration> = looks.collect().await;
    all.sort_unstable();
    [50, 99].map(|percent| all[(all.len() - 1) * percent / 100])
}
