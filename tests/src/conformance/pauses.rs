//! Claims about paused queues.

use haul_common::{
    job::WorkerId,
    ports::{Pause, Store, Topic},
    time::Timestamp,
};

use super::{saves::tick, workers::beat};
use crate::jobs::queue;

fn pause(by: &str) -> Pause {
    Pause {
        since: Timestamp::from_millis(1_800_000_000_123),
        by: by.to_owned(),
        reason: Some("a \"reason\",\nin lines 🚚".to_owned()),
    }
}

/// Since when, by whom and what for.
pub async fn a_pause_is_found_as_it_was_made(store: &dyn Store) {
    assert!(store.pauses().await.unwrap().is_empty());
    let bare = Pause {
        reason: None,
        ..pause("")
    };
    let made = [(queue("mail"), pause("ann@host")), (queue("images"), bare)];
    for (queue, pause) in made.clone() {
        assert!(store.pause(&queue, pause).await.unwrap());
    }
    assert_eq!(store.pauses().await.unwrap(), made.into());
}

/// Whoever pauses again is told, and changes nothing; so it is with resuming.
pub async fn the_first_pause_stays_until_it_ends(store: &dyn Store) {
    let mail = queue("mail");
    assert!(store.pause(&mail, pause("ann")).await.unwrap());
    assert!(!store.pause(&mail, pause("bob")).await.unwrap());
    assert_eq!(store.pauses().await.unwrap()[&mail].by, "ann");
    assert!(store.resume(&mail).await.unwrap());
    assert!(!store.resume(&mail).await.unwrap());
    assert!(store.pauses().await.unwrap().is_empty());
    assert!(store.pause(&mail, pause("bob")).await.unwrap());
    assert_eq!(store.pauses().await.unwrap()[&mail].by, "bob");
}

/// Both are told at once, and by every heartbeat.
pub async fn workers_hear_of_pauses(store: &dyn Store) {
    let (worker, mail) = (WorkerId::random(), queue("mail"));
    assert!(beat(store, &worker, &[]).await.paused.is_empty());
    let mut watch = store.watch(Topic::Cancels).await.unwrap();
    store.pause(&mail, pause("ann")).await.unwrap();
    tick(&mut watch, "a tick for the pause").await;
    for _ in 0..2 {
        assert_eq!(
            beat(store, &worker, &[]).await.paused,
            [mail.clone()].into()
        );
    }
    let mut watch = store.watch(Topic::Cancels).await.unwrap();
    store.resume(&mail).await.unwrap();
    tick(&mut watch, "a tick for its end").await;
    assert!(beat(store, &worker, &[]).await.paused.is_empty());
}
