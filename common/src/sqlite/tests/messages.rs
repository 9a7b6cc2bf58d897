//! Claims about the work.

use super::*;

#[tokio::test]
async fn what_a_dead_session_held_comes_back_and_its_late_word_is_ignored() {
    let file = File::new();
    let (stopped, live) = (file.open().await, file.open().await);
    let job = publish(&stopped, lane()).await;
    let mut first = consume(&stopped, 10).await;
    let held = next(&mut first).await;
    assert_eq!(held.returned, 0);
    // As if the process had been stopped for an hour, but for its beat.
    file.poke("UPDATE sessions SET seen = seen - 3600000");
    let mut second = consume(&live, 10).await;
    let again = next(&mut second).await;
    assert_eq!((id(&again), again.returned), (&*job, 1));
    held.settlement.ack();
    assert!(soon(first.0.recv()).await.is_none(), "a lost inbox ends");
    assert_eq!(file.ask("SELECT count(*) FROM held"), 1);
    again.settlement.ack();
    until(async || file.ask("SELECT count(*) FROM messages") == 0).await;
}

#[tokio::test]
async fn a_file_that_is_opened_again_gives_back_what_a_killed_process_held() {
    let file = File::new();
    let sqlite = file.open().await;
    let job = publish(&sqlite, lane()).await;
    let mut inbox = consume(&sqlite, 10).await;
    let _held = next(&mut inbox).await;
    // The pid of a process that has ended: none is ever so high.
    file.poke("UPDATE sessions SET pid = 4194999");
    let restarted = file.open().await;
    let mut inbox = consume(&restarted, 10).await;
    assert_eq!(id(&next(&mut inbox).await), &*job);
}

#[tokio::test]
async fn a_dropped_inbox_gives_back_what_it_had_not_handed_out_and_settles_the_rest() {
    let file = File::new();
    let sqlite = file.open().await;
    for _ in 0..5 {
        publish(&sqlite, lane()).await;
    }
    let mut first = consume(&sqlite, 5).await;
    let (one, two) = (next(&mut first).await, next(&mut first).await);
    until(async || file.ask("SELECT count(*) FROM held") == 5).await;
    drop(first);
    let mut second = consume(&sqlite, 10).await;
    for _ in 0..3 {
        next(&mut second).await.settlement.ack();
    }
    let released = id(&one).to_owned();
    one.settlement.release();
    assert_eq!(id(&next(&mut second).await), released);
    two.settlement.ack();
    until(async || file.ask("SELECT count(*) FROM messages") == 1).await;
}

#[tokio::test]
async fn a_settlement_that_nobody_used_comes_again_once_its_consumer_ends() {
    let file = File::new();
    let sqlite = file.open().await;
    let job = publish(&sqlite, lane()).await;
    let mut first = consume(&sqlite, 5).await;
    drop(next(&mut first).await);
    drop(first);
    let mut second = consume(&sqlite, 5).await;
    let again = next(&mut second).await;
    assert_eq!((id(&again), again.returned), (&*job, 1));
}

#[tokio::test]
async fn a_delayed_message_comes_at_its_time_to_another_process() {
    let file = File::new();
    let (one, two) = (file.open().await, file.open().await);
    let mut inbox = consume(&two, 5).await;
    let sent = std::time::Instant::now();
    let delay = Duration::from_millis(300);
    let later = Route::Later {
        queue: queue(),
        lane: Lane::Normal,
        delay,
        coarse: false,
    };
    let job = publish(&one, later).await;
    assert_eq!(id(&next(&mut inbox).await), &*job);
    assert!(sent.elapsed() >= delay - Duration::from_millis(2));
    assert!(sent.elapsed() < delay + Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_another_process_is_noticed_at_once() {
    let file = File::new();
    let (one, two) = (file.open().await, file.open().await);
    let mut inbox = consume(&two, 5).await;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let job = publish(&one, lane()).await;
        let sent = std::time::Instant::now();
        let delivery = next(&mut inbox).await;
        waits.push(sent.elapsed());
        assert_eq!(id(&delivery), &*job);
        delivery.settlement.ack();
    }
    waits.sort_unstable();
    // The median, for any single one may meet a busy machine.
    assert!(waits[4] < Duration::from_millis(100), "{waits:?}");
}
