//! Claims about publishing, consuming and settling.

use std::collections::BTreeMap;

use bytes::Bytes;
use haul_common::{
    job::{BODY_BYTES_MAX, HeaderValue, Lane},
    ports::{Broker, Confirm, Delivery, Inbox, LaneFacts, Publication, Route, Source},
    wire::{Head, Message},
};

use crate::{
    jobs::{message, number, queue, to_lane},
    wait::{becomes, soon},
};

pub(super) async fn open(broker: &dyn Broker) {
    broker.declare(&[queue("mail")]).await.unwrap();
}

pub(super) async fn publish(broker: &dyn Broker, batch: Vec<Publication>) {
    for confirm in broker.publish(batch).await {
        assert_eq!(confirm, Confirm::Accepted);
    }
}

/// Opens the queue and publishes messages 0 to `count` to its normal lane.
pub(super) async fn fill(broker: &dyn Broker, count: u64) {
    open(broker).await;
    let numbers = 0..count;
    let batch = numbers.map(|n| to_lane("mail", Lane::Normal, n)).collect();
    publish(broker, batch).await;
}

pub(super) async fn consume(broker: &dyn Broker, prefetch: u16) -> Inbox {
    let source = Source::Lane(queue("mail"), Lane::Normal);
    broker.consume(source, prefetch).await.unwrap()
}

pub(super) async fn next(inbox: &mut Inbox) -> Delivery {
    let delivery = soon("a delivery", inbox.0.recv()).await;
    delivery.expect("the inbox ended")
}

/// Acknowledges as many as come; gives their numbers in order of size, for what comes again comes
/// in whatever order.
pub(super) async fn take(inbox: &mut Inbox, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let delivery = next(inbox).await;
        seen.push(number(&delivery.message));
        delivery.settlement.ack();
    }
    seen.sort_unstable();
    seen
}

pub(super) async fn normal(broker: &dyn Broker) -> LaneFacts {
    let facts = broker.facts(&queue("mail")).await.unwrap();
    facts.lanes[Lane::Normal.index()]
}

pub(super) async fn ready_becomes(broker: &dyn Broker, wanted: u64) {
    becomes("messages that are ready", wanted, || async {
        normal(broker).await.ready
    })
    .await;
}

/// Nothing else comes: what would come again stands before a message that is published now.
async fn nothing_but_a_new_message_comes(broker: &dyn Broker) {
    becomes("consumers to be gone", 0, || async {
        normal(broker).await.consumers
    })
    .await;
    publish(broker, vec![to_lane("mail", Lane::Normal, 999)]).await;
    let mut inbox = consume(broker, 10).await;
    let delivery = next(&mut inbox).await;
    assert_eq!(number(&delivery.message), 999);
    delivery.settlement.ack();
    ready_becomes(broker, 0).await;
    assert!(inbox.0.try_recv().is_err(), "something came again");
}

/// A confirmed message is delivered, with where it came from.
pub async fn a_confirmed_message_is_delivered(broker: &dyn Broker) {
    fill(broker, 1).await;
    let delivery = next(&mut consume(broker, 1).await).await;
    assert_eq!(number(&delivery.message), 0);
    assert_eq!(delivery.origin, (queue("mail"), Lane::Normal));
    assert_eq!(delivery.returned, 0);
    assert_eq!(delivery.given_up, None);
}

/// A consumer that waits gets what is published later.
pub async fn a_waiting_consumer_gets_what_comes(broker: &dyn Broker) {
    open(broker).await;
    let mut inbox = consume(broker, 1).await;
    for n in 0..5 {
        publish(broker, vec![to_lane("mail", Lane::Normal, n)]).await;
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        delivery.settlement.ack();
    }
}

/// Once acknowledged, it is gone.
pub async fn an_acknowledged_message_never_comes_again(broker: &dyn Broker) {
    fill(broker, 3).await;
    let mut inbox = consume(broker, 3).await;
    for _ in 0..3 {
        next(&mut inbox).await.settlement.ack();
    }
    drop(inbox);
    nothing_but_a_new_message_comes(broker).await;
}

/// Released, it comes again, marked, to whoever consumes.
pub async fn a_released_message_comes_again_at_once(broker: &dyn Broker) {
    fill(broker, 1).await;
    let mut inbox = consume(broker, 1).await;
    for _ in 0..3 {
        next(&mut inbox).await.settlement.release();
        let again = next(&mut inbox).await;
        assert_eq!(number(&again.message), 0);
        assert!(again.returned > 0);
        again.settlement.release();
    }
}

/// What a consumer left unsettled comes again when it ends.
pub async fn an_unsettled_message_comes_again_when_its_consumer_ends(broker: &dyn Broker) {
    fill(broker, 2).await;
    let mut inbox = consume(broker, 2).await;
    drop((next(&mut inbox).await, next(&mut inbox).await));
    drop(inbox);
    assert_eq!(take(&mut consume(broker, 2).await, 2).await, [0, 1]);
}

/// A delivery whose settlement was dropped stays where it is while its consumer lives.
pub async fn a_dropped_settlement_settles_nothing(broker: &dyn Broker) {
    fill(broker, 3).await;
    let mut inbox = consume(broker, 2).await;
    drop((next(&mut inbox).await, next(&mut inbox).await));
    ready_becomes(broker, 1).await;
    assert!(inbox.0.try_recv().is_err(), "both places are still taken");
}

/// The end of an inbox does not take deliveries from those who have them.
pub async fn what_was_handed_out_can_be_settled_after_the_inbox_is_dropped(broker: &dyn Broker) {
    fill(broker, 5).await;
    let mut inbox = consume(broker, 5).await;
    let (first, second) = (next(&mut inbox).await, next(&mut inbox).await);
    drop(inbox);
    // Given back: three that nobody had seen.
    ready_becomes(broker, 3).await;
    first.settlement.ack();
    second.settlement.release();
    ready_becomes(broker, 4).await;
    let mut other = consume(broker, 5).await;
    assert_eq!(take(&mut other, 4).await, [1, 2, 3, 4]);
    drop(other);
    nothing_but_a_new_message_comes(broker).await;
}

/// No more than `prefetch` are out; settling one lets the next one come.
pub async fn prefetch_is_respected(broker: &dyn Broker) {
    fill(broker, 10).await;
    let mut inbox = consume(broker, 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut inbox).await);
    }
    ready_becomes(broker, 7).await;
    assert!(inbox.0.try_recv().is_err());
    for n in 3..10 {
        held.remove(0).settlement.ack();
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        held.push(delivery);
    }
}

/// Two consumers share a lane without sharing a message.
pub async fn consumers_of_a_lane_share_it(broker: &dyn Broker) {
    fill(broker, 20).await;
    let (mut one, mut two) = (consume(broker, 1).await, consume(broker, 1).await);
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let delivery = tokio::select! {
            delivery = next(&mut one) => delivery,
            delivery = next(&mut two) => delivery,
        };
        seen.push(number(&delivery.message));
        delivery.settlement.ack();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

/// What goes to one lane comes out of no other.
pub async fn lanes_are_separate(broker: &dyn Broker) {
    let queues = [queue("mail"), queue("images")];
    broker.declare(&queues).await.unwrap();
    let places = queues
        .iter()
        .flat_map(|queue| Lane::ALL.map(|lane| (queue.clone(), lane)));
    let places: Vec<_> = places.collect();
    let numbered = || (0_u64..).zip(&places);
    let batch = numbered().map(|(n, (queue, lane))| to_lane(queue, *lane, n));
    publish(broker, batch.collect()).await;
    for (n, place) in numbered() {
        let source = Source::Lane(place.0.clone(), place.1);
        let mut inbox = broker.consume(source, 10).await.unwrap();
        let delivery = next(&mut inbox).await;
        assert_eq!((number(&delivery.message), &delivery.origin), (n, place));
        assert!(inbox.0.try_recv().is_err());
        delivery.settlement.ack();
    }
}

/// First in, first out, within a lane, for one consumer.
pub async fn order_within_a_lane_is_kept(broker: &dyn Broker) {
    fill(broker, 300).await;
    let mut inbox = consume(broker, 20).await;
    for n in 0..300 {
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        delivery.settlement.ack();
    }
}

/// A message with something of every kind in it.
fn manifold() -> Message {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    let headers = BTreeMap::from([
        ("true".to_owned(), HeaderValue::Bool(true)),
        ("false".to_owned(), HeaderValue::Bool(false)),
        ("zero".to_owned(), HeaderValue::Int(0)),
        ("least".to_owned(), HeaderValue::Int(i64::MIN)),
        ("most".to_owned(), HeaderValue::Int(i64::MAX)),
        ("float".to_owned(), HeaderValue::Float(-0.125)),
        ("whole_float".to_owned(), HeaderValue::Float(3.0)),
        ("empty".to_owned(), text("")),
        ("unicode".to_owned(), text("Übergröße 🚚 \u{0}\u{202e}")),
        ("long".to_owned(), text(&"x".repeat(2000))),
    ]);
    Message {
        head: Head {
            kind: Some("any.task".to_owned()),
            message_id: Some("id-1".to_owned()),
            correlation_id: Some("batch-1".to_owned()),
            reply_to: Some("answers".to_owned()),
            content_type: Some("application/octet-stream".to_owned()),
            headers,
            refused_headers: Vec::new(),
        },
        body: Bytes::from((0..=255_u8).cycle().take(1000).collect::<Vec<_>>()),
    }
}

/// Head and body come out as they went in, and again when it is delivered again.
pub async fn a_message_survives_exactly(broker: &dyn Broker) {
    open(broker).await;
    let bare = Message::default();
    let large = Message {
        body: Bytes::from(vec![0xff; BODY_BYTES_MAX]),
        ..message("mail", 1)
    };
    for message in [manifold(), bare, large] {
        let route = Route::Lane(queue("mail"), Lane::Normal);
        let sent = message.clone();
        publish(broker, vec![Publication { message, route }]).await;
        let mut inbox = consume(broker, 1).await;
        let first = next(&mut inbox).await;
        assert_eq!(first.message, sent);
        first.settlement.release();
        let again = next(&mut inbox).await;
        assert_eq!(again.message, sent, "delivered again");
        again.settlement.ack();
    }
}

/// A message for a name that nobody declared comes out among the lost sheep, or out of its lane
/// once somebody declares it.
pub(super) async fn comes_out(broker: &dyn Broker, n: u64, lane: Lane) {
    broker.declare(&[queue("images")]).await.unwrap();
    let source = Source::Lane(queue("images"), lane);
    let mut kept = broker.consume(source, 1).await.unwrap();
    let mut lost = broker.consume(Source::Unrouted, 1).await.unwrap();
    let delivery = tokio::select! {
        delivery = next(&mut kept) => delivery,
        delivery = next(&mut lost) => delivery,
    };
    assert_eq!(number(&delivery.message), n);
    assert_eq!(delivery.origin, (queue("images"), lane));
    delivery.settlement.ack();
}

/// A name that nobody declared loses no message: refused, or kept.
pub async fn a_message_for_an_undeclared_queue_is_not_lost(broker: &dyn Broker) {
    open(broker).await;
    let mut confirms = broker.publish(vec![to_lane("images", Lane::Low, 7)]).await;
    if !matches!(confirms.remove(0), Confirm::Refused(_)) {
        comes_out(broker, 7, Lane::Low).await;
    }
}

/// Each of a batch gets its own answer, whatever its neighbours get.
pub async fn each_of_a_mixed_batch_gets_its_own_answer(broker: &dyn Broker) {
    open(broker).await;
    let place = |n: u64| match n % 2 {
        0 => to_lane("mail", Lane::Normal, n),
        _ => Publication {
            message: message("mail", n),
            route: Route::Reply("nobody-waits-here".to_owned()),
        },
    };
    let confirms = broker.publish((0..100).map(place).collect()).await;
    assert_eq!(confirms.len(), 100);
    let mut inbox = consume(broker, 100).await;
    for (n, confirm) in (0..).zip(&confirms) {
        if n % 2 == 1 {
            // A broker without reply queues accepts; no broker leaves it open.
            assert!(!matches!(confirm, Confirm::Unknown(_)), "{confirm:?}");
            continue;
        }
        assert_eq!(*confirm, Confirm::Accepted);
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        delivery.settlement.ack();
    }
}

/// 5,000 in one call: all accepted, all there, in order.
pub async fn a_bulk_of_5000_is_accepted_in_order(broker: &dyn Broker) {
    fill(broker, 5000).await;
    ready_becomes(broker, 5000).await;
    let mut inbox = consume(broker, 500).await;
    for n in 0..5000 {
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        delivery.settlement.ack();
    }
}

/// Callers that publish at the same time do not get each other's answers or lose messages.
pub async fn publishers_do_not_disturb_each_other(broker: &dyn Broker) {
    open(broker).await;
    let calls = (0..50_u64).map(|caller| async move {
        let numbers = caller * 20..(caller + 1) * 20;
        let batch = numbers.map(|n| to_lane("mail", Lane::Normal, n)).collect();
        publish(broker, batch).await;
    });
    soon("50 publishers", futures_util::future::join_all(calls)).await;
    let mut inbox = consume(broker, 100).await;
    let seen = take(&mut inbox, 1000).await;
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

/// Nothing to publish is nothing to answer.
pub async fn an_empty_batch_is_answered(broker: &dyn Broker) {
    open(broker).await;
    assert_eq!(soon("the answer", broker.publish(Vec::new())).await, []);
}
