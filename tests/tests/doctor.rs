//! What `haul doctor` finds on real servers that something is wrong with.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use haul_common::{
    job::Lane,
    ports::{Broker, Finding, Level},
    rabbitmq::{RabbitMq, management},
    wire::topology::Namespace,
};
use haul_tests::{
    backends::{amqp_url, namespace, rabbitmq_at},
    jobs::queue,
    servers::Server,
    wait::{SOON, eventually},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

async fn channel() -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&amqp_url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A quorum queue as somebody else would declare it.
async fn declare_otherwise(name: &str) {
    let (connection, channel) = channel().await;
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(5));
    let options = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(name.into(), options, arguments)
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

fn about<'f>(found: &'f [Finding], subject: &str) -> Vec<&'f Finding> {
    found.iter().filter(|it| it.subject == subject).collect()
}

#[tokio::test]
async fn every_queue_that_differs_is_named_with_what_differs() {
    let names = namespace();
    let broker = rabbitmq_at(amqp_url(), names.clone()).await;
    let [mail, images] = ["mail", "images"].map(queue);
    let lane = |name, lane| names.work_queue(name, lane);
    let ours = [lane(&mail, Lane::Normal), names.dead_queue(&mail)];
    for name in &ours {
        declare_otherwise(name).await;
    }
    broker
        .it
        .declare(std::slice::from_ref(&images))
        .await
        .unwrap();

    let found = broker.it.check(&[mail, images]).await;
    let differ = about(&found, "broker topology");
    assert_eq!(differ.len(), ours.len(), "{differ:?}");
    for name in &ours {
        let told = differ.iter().any(|it| {
            let words = [&**name, "inequivalent arg", "drain and delete"];
            it.level == Level::Broken && words.iter().all(|word| it.detail.contains(word))
        });
        assert!(told, "{name}: {differ:?}");
    }
}

#[tokio::test]
async fn nothing_is_unrouted_where_nothing_was_declared_yet() {
    let broker = rabbitmq_at(amqp_url(), namespace()).await;
    assert_eq!(broker.it.unrouted().await.unwrap(), 0);
}

/// As a foreign client does, for a queue that was never declared; returns once the broker has it.
async fn publish_to_nobody(names: &Namespace) {
    let (_connection, channel) = channel().await;
    let confirms = ConfirmSelectOptions { nowait: false };
    channel.confirm_select(confirms).await.unwrap();
    let options = BasicPublishOptions::default();
    let (exchange, properties) = (names.jobs(), BasicProperties::default());
    let published = channel.basic_publish(
        exchange.as_str().into(),
        "mail".into(),
        options,
        b"1",
        properties,
    );
    published.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn messages_that_nobody_wanted_are_counted() {
    let names = namespace();
    let broker = rabbitmq_at(amqp_url(), names.clone()).await;
    broker.it.declare(&[queue("images")]).await.unwrap();
    let found = broker.it.check(&[]).await;
    assert_eq!(about(&found, "unrouted messages")[0].level, Level::Fine);

    publish_to_nobody(&names).await;
    let found = broker.it.check(&[]).await;
    let told = about(&found, "unrouted messages")[0];
    assert!(
        told.level == Level::Warning && told.detail.starts_with("1 wait"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_plugin_tells_of_alarms_and_policies() {
    let server = tokio::task::spawn_blocking(|| Server::rabbitmq(&["management=yes"]));
    let server = server.await.unwrap();
    let names = Namespace::standard();
    let broker = RabbitMq::connect(&server.url(), names.clone())
        .await
        .unwrap();
    broker.declare(&[queue("mail")]).await.unwrap();
    let api = format!("http://guest:guest@127.0.0.1:{}", server.port() + 3);
    let url = server.url();

    let found = management::check(&api, &url, &names).await;
    let fine = found.iter().all(|it| it.level == Level::Fine);
    assert!(fine && found.len() > 4, "{found:?}");

    let limits = r#"{"max-length": 9}"#;
    tokio::task::block_in_place(|| {
        server.ctl(&["set_policy", "tidy", "^haul", limits]);
        server.ctl(&["set_vm_memory_high_watermark", "0.00001"]);
    });
    // Each takes a moment to be seen.
    for (subject, word) in [
        ("broker policies", "max-length = 9"),
        ("broker alarms", "memory"),
    ] {
        eventually(word, SOON, async || {
            let found = management::check(&api, &url, &names).await;
            let mut told = about(&found, subject).into_iter();
            let broken = told.find(|it| it.level == Level::Broken && it.detail.contains(word));
            broken.map(drop).ok_or(found)
        })
        .await;
    }
}
