//! Claims about messages that wait.

use std::time::{Duration, Instant};

use haul_common::{
    job::Lane,
    ports::{Broker, Confirm},
};

use super::broker::{comes_out, consume, next, open, publish, take};
use crate::{
    jobs::{later, number, queue, to_lane},
    wait::becomes,
};

/// What a clock that counts whole milliseconds may take off.
const CLOCK: Duration = Duration::from_millis(5);

async fn lateness(broker: &dyn Broker, delay: Duration, coarse: bool) -> Duration {
    let mut inbox = consume(broker, 1).await;
    let from = Instant::now();
    publish(broker, vec![later("mail", delay, coarse, 1)]).await;
    let delivery = next(&mut inbox).await;
    let waited = from.elapsed();
    assert_eq!(number(&delivery.message), 1);
    assert!(
        waited + CLOCK >= delay,
        "{delay:?} asked, came after {waited:?}"
    );
    delivery.settlement.ack();
    waited.saturating_sub(delay)
}

/// Short delays: never early, under a second late.
pub async fn a_delayed_message_comes_on_time(broker: &dyn Broker) {
    open(broker).await;
    // One level, and three levels of a broker that splits delays into binary digits.
    for ms in [200, 700, 1300] {
        let late = lateness(broker, Duration::from_millis(ms), false).await;
        assert!(late < Duration::from_secs(1), "{ms} ms came {late:?} late");
    }
}

/// Coarse delays: never early, 6 % late at most, beside what is late anyway.
pub async fn a_coarse_delay_is_a_little_late_at_most(broker: &dyn Broker) {
    open(broker).await;
    let delay = Duration::from_millis(3300);
    let late = lateness(broker, delay, true).await;
    let limit = delay.mul_f64(0.0625) + Duration::from_secs(1);
    assert!(late < limit, "{late:?} late");
}

/// No delay worth the name goes straight to the lane.
pub async fn a_delay_of_nothing_comes_at_once(broker: &dyn Broker) {
    open(broker).await;
    for ms in [0, 1, 50] {
        let late = lateness_of_short(broker, Duration::from_millis(ms)).await;
        assert!(late < Duration::from_secs(1), "{ms} ms came {late:?} late");
    }
}

/// Under the unit of delays, early is allowed.
async fn lateness_of_short(broker: &dyn Broker, delay: Duration) -> Duration {
    let mut inbox = consume(broker, 1).await;
    let from = Instant::now();
    publish(broker, vec![later("mail", delay, false, 1)]).await;
    next(&mut inbox).await.settlement.ack();
    from.elapsed().saturating_sub(delay)
}

/// A long delay does not hold up a short one.
pub async fn a_long_delay_does_not_block_a_short_one(broker: &dyn Broker) {
    open(broker).await;
    let mut inbox = consume(broker, 5).await;
    let hour = Duration::from_secs(3600);
    let batch = vec![
        later("mail", hour, false, 1),
        later("mail", Duration::from_millis(2000), false, 2),
        later("mail", Duration::from_millis(300), false, 3),
        to_lane("mail", Lane::Normal, 4),
    ];
    publish(broker, batch).await;
    for n in [4, 3, 2] {
        let delivery = next(&mut inbox).await;
        assert_eq!(number(&delivery.message), n);
        delivery.settlement.ack();
    }
    assert!(inbox.0.try_recv().is_err());
}

/// What waits is not ready.
pub async fn a_waiting_message_is_not_ready(broker: &dyn Broker) {
    open(broker).await;
    let hour = Duration::from_secs(3600);
    let now = to_lane("mail", Lane::Normal, 2);
    publish(broker, vec![later("mail", hour, true, 1), now]).await;
    becomes("ready messages", 1, || async {
        let facts = broker.facts(&queue("mail")).await.unwrap();
        facts.lanes[Lane::Normal.index()].ready
    })
    .await;
}

/// A delayed message survives as it is, in its lane.
pub async fn a_delayed_message_is_unchanged(broker: &dyn Broker) {
    open(broker).await;
    let publication = later("mail", Duration::from_millis(300), false, 5);
    let sent = publication.message.clone();
    publish(broker, vec![publication]).await;
    let delivery = next(&mut consume(broker, 1).await).await;
    assert_eq!(delivery.message, sent);
    assert_eq!(delivery.origin, (queue("mail"), Lane::Normal));
}

/// A delay towards a name that nobody declared is refused, or kept.
pub async fn a_delay_for_an_undeclared_queue_is_not_lost(broker: &dyn Broker) {
    open(broker).await;
    let batch = vec![
        later("images", Duration::from_millis(200), false, 8),
        later("mail", Duration::from_millis(800), false, 9),
    ];
    let mut confirms = broker.publish(batch).await;
    // Once the second is here, the first has come out too, towards a name that is still unknown.
    let mut inbox = consume(broker, 1).await;
    next(&mut inbox).await.settlement.ack();
    if !matches!(confirms.remove(0), Confirm::Refused(_)) {
        comes_out(broker, 8, Lane::Normal).await;
    }
}

/// Many delays at once: none is lost, none comes twice.
pub async fn a_thousand_delays_all_come_once(broker: &dyn Broker) {
    open(broker).await;
    let delay = |n: u64| Duration::from_millis(100 + n % 10 * 100);
    let batch = (0..1000).map(|n| later("mail", delay(n), true, n));
    publish(broker, batch.collect()).await;
    let mut inbox = consume(broker, 100).await;
    let seen = take(&mut inbox, 1000).await;
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}
