//! Looking, without touching: what waits in a queue, and what `haul doctor` wants to know.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use lapin::{Channel, types::FieldTable};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    ANSWER,
    address::Address,
    errors,
    link::Link,
    topology::{Topology, queue_options},
};
use crate::{
    job::{Lane, QueueName},
    ports::{BrokerError, Finding, LaneFacts, Level, QueueFacts},
    wire::topology::Namespace,
};

/// The oldest server that was measured.
const OLDEST: (u64, u64) = (3, 10);

/// What waits in a queue, by lane.
pub(super) async fn of_queue(
    link: &Link,
    names: &Namespace,
    queue: &QueueName,
) -> Result<QueueFacts, BrokerError> {
    let mut wanted: Vec<_> = Lane::ALL
        .into_iter()
        .map(|lane| names.work_queue(queue, lane))
        .collect();
    wanted.push(names.dead_queue(queue));
    // A throw-away channel: asking for a queue that is not there closes it.
    let (_, channel) = link.channel().await?;
    let looks = try_join_all(wanted.iter().map(|name| look(&channel, name)));
    let seen = match timeout(ANSWER, looks).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            let what = format!("queue {queue}");
            return Err(errors::of_request(link.address(), &what, &error));
        }
        Err(_) => return Err(errors::overdue(link.address(), &format!("queue {queue}"))),
    };
    let mut facts = QueueFacts::default();
    for (place, lane) in facts.lanes.iter_mut().zip(&seen) {
        *place = *lane;
    }
    facts.dead = seen.last().map_or(0, |dead| dead.ready);
    Ok(facts)
}

/// What waits that no queue wanted: nothing, as long as nobody has declared anything.
pub(super) async fn unrouted(link: &Link, names: &Namespace) -> Result<u64, BrokerError> {
    let (_, channel) = link.channel().await?;
    let name = names.unrouted();
    match timeout(ANSWER, look(&channel, &name)).await {
        Ok(Ok(seen)) => Ok(seen.ready),
        Ok(Err(error)) if errors::is_not_found(&error) => Ok(0),
        Ok(Err(error)) => Err(errors::of_request(link.address(), &name, &error)),
        Err(_) => Err(errors::overdue(link.address(), &name)),
    }
}

async fn look(channel: &Channel, name: &str) -> lapin::Result<LaneFacts> {
    let queue = channel
        .queue_declare(name.into(), queue_options(true), FieldTable::default())
        .await?;
    Ok(LaneFacts {
        ready: queue.message_count().into(),
        consumers: queue.consumer_count().into(),
    })
}

fn finding(level: Level, subject: &str, detail: impl Into<String>) -> Finding {
    Finding {
        level,
        subject: subject.to_owned(),
        detail: detail.into(),
    }
}

/// What `haul doctor` says about the broker.
pub(super) async fn check(
    link: &Arc<Link>,
    topology: &Topology,
    queues: &[QueueName],
) -> Vec<Finding> {
    let address = link.address();
    if let Err(error) = link.channel().await {
        return vec![finding(Level::Broken, "broker", error.to_string())];
    }
    let mut found = vec![
        finding(Level::Fine, "broker", format!("{address} answers")),
        version(address).await,
        encryption(address),
        user(address),
    ];
    match topology.marker_exists().await {
        Ok(true) => {
            found.extend(drift(topology, queues).await);
            found.push(lost_sheep(topology).await);
        }
        Ok(false) => {
            let detail = "not declared yet; the first worker or producer will do it";
            found.push(finding(Level::Fine, "broker topology", detail));
        }
        Err(error) => found.push(finding(Level::Broken, "broker topology", error.to_string())),
    }
    found
}

async fn drift(topology: &Topology, queues: &[QueueName]) -> Vec<Finding> {
    let subject = "broker topology";
    let broken = |error: BrokerError| finding(Level::Broken, subject, error.to_string());
    match topology.differences(queues).await {
        Ok(differ) if differ.is_empty() => {
            let detail = "exchanges and queues are as they should be";
            vec![finding(Level::Fine, subject, detail)]
        }
        Ok(differ) => differ.into_iter().map(broken).collect(),
        Err(error) => vec![broken(error)],
    }
}

async fn lost_sheep(topology: &Topology) -> Finding {
    let (subject, name) = ("unrouted messages", topology.names().unrouted());
    match topology.messages_in(&name).await {
        Ok(Some((0, _))) => finding(Level::Fine, subject, "none"),
        Ok(Some((waiting, 0))) => {
            let detail = format!(
                "{waiting} wait in {name}, and nobody looks at them: start a worker, which makes \
                 dead jobs of them, then: haul job list state:dead reason:rejected"
            );
            finding(Level::Warning, subject, detail)
        }
        Ok(Some((waiting, _))) => {
            let detail = format!("{waiting} in {name}; a worker is at it");
            finding(Level::Warning, subject, detail)
        }
        Ok(None) => finding(Level::Broken, subject, format!("queue {name} is missing")),
        Err(error) => finding(Level::Broken, subject, error.to_string()),
    }
}

fn encryption(address: &Address) -> Finding {
    let subject = "broker encryption";
    if address.is_encrypted() {
        finding(Level::Fine, subject, "TLS")
    } else if address.is_loopback() {
        finding(Level::Fine, subject, "none, and it stays on this machine")
    } else {
        let detail = "none: passwords and jobs cross the network in the clear; use amqps://";
        finding(Level::Warning, subject, detail)
    }
}

fn user(address: &Address) -> Finding {
    let subject = "broker user";
    if address.is_guest() && !address.is_loopback() {
        let detail = "guest, whose password everybody knows; make a user of its own";
        finding(Level::Warning, subject, detail)
    } else {
        finding(
            Level::Fine,
            subject,
            "not the well-known one, or only from this machine",
        )
    }
}

async fn version(address: &Address) -> Finding {
    let subject = "broker version";
    if address.is_encrypted() {
        return finding(Level::Fine, subject, "not looked at behind TLS");
    }
    let greeting = match timeout(ANSWER, greeting(address)).await {
        Ok(Ok(greeting)) => greeting,
        _ => return finding(Level::Warning, subject, "it did not tell its version"),
    };
    let product = property(&greeting, "product").unwrap_or_default();
    let version = property(&greeting, "version").unwrap_or_default();
    judge_version(&product, &version)
}

pub(super) fn judge_version(product: &str, version: &str) -> Finding {
    let subject = "broker version";
    let mut numbers = version.split('.').map(|part| part.parse::<u64>().ok());
    let parsed = numbers.next().flatten().zip(numbers.next().flatten());
    match parsed {
        _ if product != "RabbitMQ" => {
            let detail = format!("`{product} {version}`: only RabbitMQ was ever tried");
            finding(Level::Warning, subject, detail)
        }
        Some(number) if number >= OLDEST => {
            finding(Level::Fine, subject, format!("{product} {version}"))
        }
        _ => {
            let detail = format!(
                "{product} {version}: before 3.10, quorum queues lose what waits; upgrade it"
            );
            finding(Level::Warning, subject, detail)
        }
    }
}

/// How long the rest of a greeting may take, once it began.
const REST: Duration = Duration::from_millis(300);

/// The first frame of a server: it tells its properties before anybody logs in, and the client
/// library keeps them to itself.
async fn greeting(address: &Address) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address.host_and_port()).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut greeting = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = match greeting.len() {
            0 => stream.read(&mut buffer).await?,
            _ => match timeout(REST, stream.read(&mut buffer)).await {
                Ok(read) => read?,
                Err(_) => 0,
            },
        };
        greeting.extend_from_slice(&buffer[..read]);
        // The last byte of every frame.
        if read == 0 || greeting.last() == Some(&0xCE) || greeting.len() > 64 * 1024 {
            return Ok(greeting);
        }
    }
}

/// A text among the properties in a greeting: length and name, `S`, length, text.
pub(super) fn property(greeting: &[u8], name: &str) -> Option<String> {
    let mut mark = vec![u8::try_from(name.len()).ok()?];
    mark.extend_from_slice(name.as_bytes());
    mark.push(b'S');
    let start = greeting
        .windows(mark.len())
        .position(|window| window == mark)?
        + mark.len();
    let (length, rest) = greeting.get(start..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some(String::from_utf8_lossy(rest.get(..length)?).into_owned())
}
