//! RabbitMQ by hand.

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

use super::load::Job;

/// Publications to one window of confirms.
pub(super) const WINDOW: usize = 1000;
/// Delivery mode 2: on disk.
const PERSISTENT: u8 = 2;

pub(super) async fn connect(url: &str) -> Result<Connection> {
    Ok(Connection::connect(url, ConnectionProperties::default()).await?)
}

/// Declares durable quorum queues.
pub(super) async fn declare(
    connection: &Connection,
    names: impl Iterator<Item = String>,
) -> Result<()> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        nowait: false,
    };
    for name in names {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        channel
            .queue_declare(name.into(), options, arguments)
            .await?;
    }
    Ok(())
}

pub(super) async fn publishing(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions { nowait: false })
        .await?;
    Ok(channel)
}

/// Publishes all and waits for every confirm. Only ever called from one task: the channel's confirms
/// get mixed up otherwise.
pub(super) async fn publish(channel: &Channel, jobs: &[Job]) -> Result<()> {
    try_join_all(jobs.iter().map(|job| publish_one(channel, job)))
        .await
        .map(drop)
}

async fn publish_one(channel: &Channel, job: &Job) -> Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_type("bench".into())
        .with_content_type("application/json".into())
        .with_message_id(job.id.as_str().into());
    let queue = job.queue.as_str().into();
    let confirm = channel
        .basic_publish("".into(), queue, options, &job.args, properties)
        .await?
        .await?;
    match confirm {
        Confirmation::Ack(None) => Ok(()),
        other => bail!("not taken: {other:?}"),
    }
}

pub(super) async fn consume(
    connection: &Connection,
    queue: &str,
    prefetch: u16,
) -> Result<(Channel, Consumer)> {
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(prefetch, BasicQosOptions { global: false })
        .await?;
    let options = BasicConsumeOptions {
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
    };
    let consumer = channel
        .basic_consume(queue.into(), "".into(), options, FieldTable::default())
        .await?;
    Ok((channel, consumer))
}
