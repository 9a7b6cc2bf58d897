//! What only a real AMQP client can send, and what only a real broker does.

use haul_common::job::{HeaderValue, JobId, Lane, Reason, StateKind};
use haul_tests::{
    fleet::{Fleet, LONG, reason, result, until},
    jobs::{queue, spec},
    scripted::Act,
    wait::eventually,
};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

haul_tests::on_fleet! {
    absurd_headers_are_kept_as_dead,
    harmless_headers_are_carried_along,
    a_message_for_a_queue_that_nobody_has_is_dead_as_rejected,
    a_worker_whose_queue_was_deleted_makes_it_again,
}

/// Publishes a job for `test.count` with these headers as a foreign client does; gives its id.
async fn foreign(fleet: &Fleet, key: &str, headers: FieldTable) -> JobId {
    let spec = spec("default", 1);
    send(fleet, key, &spec.id, headers, spec.args.get()).await;
    spec.id
}

async fn send(fleet: &Fleet, key: &str, id: &JobId, headers: FieldTable, body: &str) {
    let (connection, channel, names) = fleet.amqp().await;
    let properties = BasicProperties::default()
        .with_type("test.count".into())
        .with_message_id(ShortString::from(&**id))
        .with_delivery_mode(2)
        .with_headers(headers);
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let exchange = names.jobs();
    channel
        .basic_publish(
            exchange.as_str().into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await
        .unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

fn table(headers: impl IntoIterator<Item = (String, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), value);
    }
    table
}

async fn absurd_headers_are_kept_as_dead(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let one = |value| table([("odd".to_owned(), value)]);
    let text = |size: usize| AMQPValue::LongString("x".repeat(size).into());
    let nested = |inner: FieldTable| one(AMQPValue::FieldTable(inner));
    let wrong = [
        table((0..1000).map(|n| (format!("h{n}"), AMQPValue::LongInt(n)))),
        nested(nested(nested(one(AMQPValue::Boolean(true))))),
        one(text(100 * 1024)),
        one(AMQPValue::Timestamp(u64::MAX)),
        one(AMQPValue::LongString(vec![0xff, 0xfe].into())),
        one(AMQPValue::Void),
    ];
    for (n, headers) in wrong.into_iter().enumerate() {
        let id = foreign(&fleet, "default", headers).await;
        let record = fleet.ended(&id).await;
        assert_eq!(reason(&record), Reason::Malformed, "number {n}");
        assert!(
            record.life.error.unwrap().contains("not a scalar"),
            "number {n}"
        );
    }
    assert_eq!(result(&fleet.submit([Act::Ok]).await).await, "done");
    until("their dead letters", || async {
        fleet.dead_letters().await == 6
    })
    .await;
}

async fn harmless_headers_are_carried_along(fleet: Fleet) {
    let headers = [
        ("traceparent", AMQPValue::LongString("00-ab-cd-01".into())),
        ("x-ours-not", AMQPValue::FieldTable(FieldTable::default())),
        ("ratio", AMQPValue::Double(0.5)),
        ("max_attempts", AMQPValue::LongString("1".into())),
    ];
    let _worker = fleet.scripted().await;
    let headers = table(headers.map(|(name, value)| (name.to_owned(), value)));
    let record = fleet
        .ended(&foreign(&fleet, "default.low", headers).await)
        .await;
    assert_eq!(reason(&record), Reason::UnknownTask);
    let carried = [
        ("ratio", HeaderValue::Float(0.5)),
        ("traceparent", HeaderValue::Text("00-ab-cd-01".into())),
    ];
    let carried = carried.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(
        (record.spec.headers, record.spec.max_attempts),
        (carried, 1)
    );
    assert_eq!(record.spec.lane, Lane::Low);
}

async fn a_message_for_a_queue_that_nobody_has_is_dead_as_rejected(fleet: Fleet) {
    let _worker = fleet.scripted().await;
    let id = foreign(&fleet, "images.high", FieldTable::default()).await;
    let record = fleet.ended(&id).await;
    assert_eq!(reason(&record), Reason::Rejected);
    assert_eq!(
        (&*record.spec.queue, record.spec.lane),
        ("images", Lane::High)
    );
    assert!(record.life.error.unwrap().contains("no queue `images`"));
    // One that cannot be read is malformed, wherever it was going.
    let id = JobId::new();
    send(&fleet, "nowhere", &id, FieldTable::default(), "{").await;
    assert_eq!(reason(&fleet.ended(&id).await), Reason::Malformed);
}

async fn a_worker_whose_queue_was_deleted_makes_it_again(fleet: Fleet) {
    let worker = fleet.scripted().await;
    let mut readiness = worker.readiness();
    assert!(*readiness.borrow_and_update());
    let (_connection, channel, names) = fleet.amqp().await;
    let name = names.work_queue(&queue("default"), Lane::Normal);
    channel
        .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    // It was ready: any change means that it is not, or was not.
    tokio::time::timeout(LONG, readiness.changed())
        .await
        .unwrap()
        .unwrap();
    tokio::time::timeout(LONG, readiness.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
    let job = eventually("a job is accepted", LONG, || {
        fleet.job([Act::Ok]).into_future()
    })
    .await;
    assert_eq!(result(&job).await, "done");
    assert_eq!(
        fleet.find(job.id()).await.life.state.kind(),
        StateKind::Succeeded
    );
}
