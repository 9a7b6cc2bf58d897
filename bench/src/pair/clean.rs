//! Empties what a side left behind: only its own names.

use anyhow::Result;
use lapin::{
    Connection, ConnectionProperties,
    options::{QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use redis::aio::MultiplexedConnection;

use super::{
    cases::ALL_LANES,
    process::{NAMESPACE, Side},
};
use crate::bare::open;

const AT_ONCE: usize = 1000;
/// As many as any case has.
const QUEUES: usize = 3;

pub(super) async fn all(side: &Side, broker: &str, store: &str) -> Result<()> {
    let (queues, keys) = match side.name {
        "bare" => ("bare.".to_owned(), "bare:*".to_owned()),
        _ => (format!("{NAMESPACE}.q."), format!("{{{NAMESPACE}}}:*")),
    };
    purge(broker, &queues).await?;
    // A server that has been up for a while knows that all records are filed.
    let kept = format!("{{{NAMESPACE}}}:filed");
    forget(&mut open(store).await?, &keys, &kept).await
}

async fn purge(url: &str, prefix: &str) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    for n in 0..QUEUES {
        for lane in ALL_LANES.split(',') {
            let name = format!("{prefix}bench{n}.{lane}");
            let channel = connection.create_channel().await?;
            let passive = QueueDeclareOptions {
                passive: true,
                durable: true,
                exclusive: false,
                auto_delete: false,
                nowait: false,
            };
            let there = channel.queue_declare(name.as_str().into(), passive, FieldTable::default());
            if there.await.is_ok() {
                let options = QueuePurgeOptions { nowait: false };
                channel.queue_purge(name.into(), options).await?;
                channel.close(200, "done".into()).await?;
            }
        }
    }
    Ok(connection.close(200, "done".into()).await?)
}

async fn forget(connection: &mut MultiplexedConnection, pattern: &str, kept: &str) -> Result<()> {
    let mut cursor = 0u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(AT_ONCE);
        let (next, mut keys): (u64, Vec<String>) = scan.query_async(connection).await?;
        keys.retain(|key| key != kept);
        if !keys.is_empty() {
            let _: u64 = redis::cmd("UNLINK")
                .arg(keys)
                .query_async(connection)
                .await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
