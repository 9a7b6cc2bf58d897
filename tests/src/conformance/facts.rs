//! Claims about declaring, looking and closing.

use std::time::Instant;

use haul_common::{
    job::Lane,
    ports::{Broker, Confirm, LaneFacts, Level, Publication, Route, Source},
};

use super::broker::{consume, fill, next, normal, open, publish, ready_becomes};
use crate::{
    jobs::{message, number, queue, to_lane},
    wait::{SOON, becomes, soon},
};

/// Declaring what is there changes nothing and takes no time worth saving.
pub async fn declaring_twice_changes_nothing(broker: &dyn Broker) {
    fill(broker, 3).await;
    let from = Instant::now();
    for _ in 0..3 {
        broker
            .declare(&[queue("mail"), queue("images")])
            .await
            .unwrap();
    }
    assert!(from.elapsed() < SOON, "took {:?}", from.elapsed());
    ready_becomes(broker, 3).await;
}

/// Ready messages and consumers are counted for each lane.
pub async fn facts_tell_what_waits_and_who_consumes(broker: &dyn Broker) {
    fill(broker, 4).await;
    publish(broker, vec![to_lane("mail", Lane::High, 0)]).await;
    let facts = || async { broker.facts(&queue("mail")).await.unwrap().lanes };
    let lane = |ready, consumers| LaneFacts { ready, consumers };
    let before = [lane(0, 0), lane(1, 0), lane(4, 0), lane(0, 0)];
    becomes("facts", before, facts).await;
    let inbox = consume(broker, 3).await;
    let while_consumed = [lane(0, 0), lane(1, 0), lane(1, 1), lane(0, 0)];
    becomes("facts with a consumer", while_consumed, facts).await;
    drop(inbox);
    becomes("facts after it", before, facts).await;
}

/// Dead letters are counted, and are no work.
pub async fn dead_letters_are_kept_and_counted(broker: &dyn Broker) {
    open(broker).await;
    let dead = |n| Publication {
        message: message("mail", n),
        route: Route::Dead(queue("mail")),
    };
    publish(broker, (0..3).map(dead).collect()).await;
    becomes("dead letters", 3, || async {
        broker.facts(&queue("mail")).await.unwrap().dead
    })
    .await;
    assert_eq!(normal(broker).await.ready, 0);
}

/// Asking about, or consuming, what does not exist is an error and harms nothing else.
pub async fn an_undeclared_queue_is_an_error_and_no_more(broker: &dyn Broker) {
    fill(broker, 1).await;
    let mut inbox = consume(broker, 1).await;
    assert!(broker.facts(&queue("images")).await.is_err());
    let source = Source::Lane(queue("images"), Lane::Normal);
    assert!(broker.consume(source, 1).await.is_err());
    next(&mut inbox).await.settlement.ack();
    publish(broker, vec![to_lane("mail", Lane::Normal, 1)]).await;
    assert_eq!(number(&next(&mut inbox).await.message), 1);
}

/// Whoever waits for deliveries learns that none will come.
pub async fn the_end_of_a_consumer_is_noticed(broker: &dyn Broker) {
    open(broker).await;
    let mut inbox = consume(broker, 1).await;
    broker.close().await;
    assert!(soon("the end", inbox.0.recv()).await.is_none());
}

/// What a closed broker is asked to do fails; it does not hang.
pub async fn a_closed_broker_answers_at_once(broker: &dyn Broker) {
    open(broker).await;
    broker.close().await;
    let publication = to_lane("mail", Lane::Normal, 1);
    let confirms = soon("the answer", broker.publish(vec![publication])).await;
    assert_ne!(confirms[0], Confirm::Accepted);
    let refused = soon("the answer", broker.facts(&queue("mail"))).await;
    assert!(refused.is_err());
}

/// Nothing that is found in a healthy broker says that it loses jobs. One that is a store too may
/// leave the findings to that.
pub async fn a_healthy_broker_is_found_healthy(broker: &dyn Broker) {
    open(broker).await;
    let findings = soon("findings", broker.check(&[queue("mail")])).await;
    let broken = findings
        .iter()
        .any(|finding| finding.level == Level::Broken);
    assert!(!broken, "{findings:?}");
}
