//! What only this adapter promises. Two `Sqlite`s on one path stand for two processes: nothing is
//! shared between them but the file.

use std::{future::Future, sync::Arc, time::Duration};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

use super::Sqlite;
use crate::{
    filter::Filter,
    job::{Envelope, Fence, JobId, Lane, QueueName, Record, Spec, StateKind, WorkerId, json},
    life::{Ended, Life, Step, judge},
    ports::{
        Applied, Broker, Change, Claim, Claimed, Confirm, Created, Delivery, Inbox, PageRequest,
        Publication, Route, Source, Store, StoreError, Topic,
    },
    time::Timestamp,
    wire::encode,
};

const SOON: Duration = Duration::from_secs(5);

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("haul.db")
    }

    async fn open(&self) -> Arc<Sqlite> {
        Sqlite::open(&self.path()).await.unwrap()
    }

    /// What another program would do to the file.
    fn poke(&self, sql: &str) {
        let db = Connection::open(self.path()).unwrap();
        db.busy_timeout(SOON).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn ask(&self, sql: &str) -> i64 {
        let db = Connection::open(self.path()).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn queue() -> QueueName {
    "mail".parse().unwrap()
}

fn spec() -> Spec {
    Spec::new("email.send".parse().unwrap(), queue(), json(&1).unwrap())
}

fn record(spec: &Spec) -> Record {
    Record::new(spec.clone(), Life::queued(), Timestamp::now())
}

fn publication(spec: &Spec, route: Route) -> Publication {
    Publication {
        message: encode(&Envelope::first(spec.clone(), None)),
        route,
    }
}

fn lane() -> Route {
    Route::Lane(queue(), Lane::Normal)
}

async fn publish(sqlite: &Sqlite, route: Route) -> JobId {
    let spec = spec();
    let confirms = sqlite.publish(vec![publication(&spec, route)]).await;
    assert_eq!(confirms, [Confirm::Accepted]);
    spec.id
}

async fn consume(sqlite: &Sqlite, prefetch: u16) -> Inbox {
    sqlite.declare(&[queue()]).await.unwrap();
    let source = Source::Lane(queue(), Lane::Normal);
    sqlite.consume(source, prefetch).await.unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("did not come in time")
}

async fn next(inbox: &mut Inbox) -> Delivery {
    soon(inbox.0.recv()).await.expect("the inbox ended")
}

fn id(delivery: &Delivery) -> &str {
    delivery.message.head.message_id.as_deref().unwrap()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    soon(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn claim(spec: &Spec) -> Claim {
    Claim {
        id: spec.id.clone(),
        attempt: 1,
        digest: spec.digest(),
        worker: WorkerId::random(),
    }
}

async fn run(sqlite: &Sqlite, spec: &Spec) -> Life {
    match sqlite.claim(claim(spec)).await.unwrap() {
        Claimed::Granted(grant) => grant.life,
        other => panic!("{other:?}"),
    }
}

fn change(spec: &Spec, step: Step) -> Change {
    let expires = step.life.state.finished();
    Change {
        id: spec.id.clone(),
        step,
        expires,
    }
}

fn success(life: &Life, spec: &Spec) -> Step {
    let ended = Ended::Succeeded(json(&"done").unwrap());
    judge(life, spec, ended, Timestamp::now(), 0.5).unwrap()
}

/// The tallies must be what counting would find.
fn assert_tallied(file: &File) {
    let wrong = file.ask(
        "SELECT count(*) FROM (
           SELECT queue, state, jobs FROM tallies WHERE jobs <> 0
           EXCEPT SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2)",
    );
    let missing = file.ask(
        "SELECT count(*) FROM (
           SELECT queue, state, count(*) FROM jobs GROUP BY 1, 2
           EXCEPT SELECT queue, state, jobs FROM tallies)",
    );
    assert_eq!((wrong, missing), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_from_two_processes_one_is_granted() {
    let file = File::new();
    let (one, two) = (file.open().await, file.open().await);
    let spec = spec();
    one.create(vec![record(&spec)]).await.unwrap();
    let claims = (0..40).map(|n| {
        let sqlite = if n % 2 == 0 { one.clone() } else { two.clone() };
        let claim = claim(&spec);
        tokio::spawn(async move { sqlite.claim(claim).await.unwrap() })
    });
    let mut granted = 0;
    for answer in claims.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Claimed::Granted(_) => granted += 1,
            Claimed::Held(held) => assert_eq!(held.life.state.kind(), StateKind::Running),
            Claimed::Missing => panic!("it is there"),
        }
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_with_its_attempts() {
    let file = File::new();
    let sqlite = file.open().await;
    let spec = spec();
    let made = || sqlite.create(vec![record(&spec)]);
    assert_eq!(made().await.unwrap(), [Created::New]);
    assert_eq!(made().await.unwrap(), [Created::Same(StateKind::Queued)]);
    let mut other = spec.clone();
    other.args = json(&2).unwrap();
    let conflict = sqlite.create(vec![record(&other)]).await.unwrap();
    assert_eq!(conflict, [Created::Conflict]);
    let life = run(&sqlite, &spec).await;
    let note = crate::ports::Note {
        id: spec.id.clone(),
        fence: life.fence,
        progress: None,
        log: "line".to_owned(),
    };
    sqlite.note(note).await.unwrap();
    let step = success(&life, &spec);
    let done = sqlite.apply(change(&spec, step.clone())).await.unwrap();
    assert!(matches!(done, Applied::Done));
    let again = sqlite.apply(change(&spec, step)).await.unwrap();
    assert!(matches!(again, Applied::Superseded(_)));
    let found = sqlite.find(&spec.id).await.unwrap().unwrap();
    assert_eq!(found.life.state.kind(), StateKind::Succeeded);
    assert_eq!(found.attempts.len(), 1);
    assert_eq!((&*found.attempts[0].log, &*found.log), ("line", ""));
    assert_eq!(found.spec.args.get(), "1");
    assert_tallied(&file);
    assert_eq!(sqlite.expire(10).await.unwrap(), 1);
    assert!(sqlite.find(&spec.id).await.unwrap().is_none());
    assert!(sqlite.counts().await.unwrap().is_empty());
    assert_tallied(&file);
}

#[tokio::test]
async fn the_history_of_attempts_is_bounded_and_in_order() {
    let file = File::new();
    let sqlite = file.open().await;
    let spec = spec();
    sqlite.create(vec![record(&spec)]).await.unwrap();
    for _ in 0..103 {
        let life = run(&sqlite, &spec).await;
        let step = life.release(Timestamp::now()).unwrap();
        sqlite.apply(change(&spec, step)).await.unwrap();
    }
    let attempts = sqlite.find(&spec.id).await.unwrap().unwrap().attempts;
    assert_eq!(attempts.len(), 100);
    assert!(attempts.is_sorted_by(|a, b| a.fence < b.fence));
    assert_tallied(&file);
}

#[tokio::test]
async fn what_a_dead_session_held_comes_back_and_its_late_word_is_ignored() {
    let file = File::new();
    let (stopped, live) = (file.open().await, file.open().await);
    let job = publish(&stopped, lane()).await;
    let mut first = consume(&stopped, 10).await;
    let held = next(&mut first).await;
    assert!(!held.redelivered);
    // As if the process had been stopped for an hour, but for its beat.
    file.poke("UPDATE sessions SET seen = seen - 3600000");
    let mut second = consume(&live, 10).await;
    let again = next(&mut second).await;
    assert_eq!((id(&again), again.redelivered), (&*job, true));
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
    assert_eq!((id(&again), again.redelivered), (&*job, true));
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

#[tokio::test]
async fn a_watch_ticks_for_what_another_process_does() {
    let file = File::new();
    let (one, two) = (file.open().await, file.open().await);
    let spec = spec();
    one.create(vec![record(&spec)]).await.unwrap();
    let mut job = two.watch(Topic::Job(spec.id.clone())).await.unwrap();
    let mut cancels = two.watch(Topic::Cancels).await.unwrap();
    let life = run(&one, &spec).await;
    until(async || {
        soon(job.changed()).await;
        let seen = two.find(&spec.id).await.unwrap().unwrap();
        seen.life.state.kind() == StateKind::Running
    })
    .await;
    soon(cancels.changed()).await;
    let step = life.request_cancel().unwrap();
    one.apply(change(&spec, step)).await.unwrap();
    soon(cancels.changed()).await;
}

#[tokio::test]
async fn a_call_that_fails_fails_alone() {
    let file = File::new();
    let sqlite = file.open().await;
    let (good, bad) = (spec(), spec());
    sqlite
        .create(vec![record(&good), record(&bad)])
        .await
        .unwrap();
    file.poke(&format!(
        "UPDATE jobs SET attempt = 7 WHERE id = '{0}';
         UPDATE specs SET spec = '{{' WHERE seq = (SELECT seq FROM jobs WHERE id = '{0}')",
        bad.id
    ));
    let (wrong, right) = tokio::join!(sqlite.claim(claim(&bad)), sqlite.claim(claim(&good)));
    assert!(
        matches!(wrong, Err(StoreError::Corrupt { .. })),
        "{wrong:?}"
    );
    assert!(matches!(right, Ok(Claimed::Granted(_))));
    assert_tallied(&file);
}

#[tokio::test]
async fn files_of_others_and_of_newer_hauls_are_left_alone() {
    let file = File::new();
    file.open().await.close_store().await;
    file.poke("PRAGMA user_version = 99");
    let newer = Sqlite::open(&file.path()).await.unwrap_err().to_string();
    assert!(
        newer.contains("newer Haul") && newer.contains("99"),
        "{newer}"
    );
    let foreign = File::new();
    foreign.poke("CREATE TABLE theirs (x)");
    let other = Sqlite::open(&foreign.path()).await.unwrap_err();
    assert!(other.to_string().contains("not a Haul file"), "{other}");
    assert_eq!(foreign.ask("SELECT count(*) FROM sqlite_master"), 1);
    let text = File::new();
    std::fs::write(
        text.path(),
        "not a database, but long enough to look at".repeat(30),
    )
    .unwrap();
    let text = Sqlite::open(&text.path()).await.unwrap_err();
    assert!(!text.is_retryable(), "{text}");
    let nowhere = Sqlite::open(std::path::Path::new("/nonexistent/dir/haul.db")).await;
    assert!(
        nowhere
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/dir/haul.db")
    );
}

#[tokio::test]
async fn pages_hold_every_record_once_newest_first() {
    let file = File::new();
    let sqlite = file.open().await;
    let now = Timestamp::now().as_millis();
    let records = (0..50).map(|n| {
        let mut record = record(&spec());
        record.created = Timestamp::from_millis(now - 1000 + n / 3);
        if n % 2 == 0 {
            record.spec.batch = Some("b".parse().unwrap());
            record.life = Life::scheduled(Timestamp::from_millis(now + 60_000));
        }
        record
    });
    sqlite.create(records.collect()).await.unwrap();
    for (filter, expected) in [
        ("", 50),
        ("batch:b", 25),
        ("state:scheduled", 25),
        ("state:queued task:email.*", 25),
        ("state:running", 0),
        ("reason:fatal", 0),
        ("lane:normal age:<1h", 50),
        ("age:>1h", 0),
    ] {
        let filter: Filter = filter.parse().unwrap();
        let mut page = PageRequest {
            limit: 7,
            after: None,
        };
        let mut seen = Vec::new();
        loop {
            let listing = sqlite.list(&filter, page.clone()).await.unwrap();
            seen.extend(listing.records);
            page.after = listing.next;
            if page.after.is_none() {
                break;
            }
        }
        assert!(seen.is_sorted_by(|a, b| a.created >= b.created));
        let mut ids: Vec<_> = seen.iter().map(|record| &record.spec.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), seen.len()), (expected, expected), "{filter:?}");
    }
}

#[tokio::test]
async fn a_running_job_without_its_worker_is_an_orphan() {
    let file = File::new();
    let sqlite = file.open().await;
    let spec = spec();
    sqlite.create(vec![record(&spec)]).await.unwrap();
    let life = run(&sqlite, &spec).await;
    let orphans = sqlite.orphans(10).await.unwrap();
    assert_eq!(orphans.len(), 1);
    let info = crate::ports::WorkerInfo {
        id: life.state.worker().unwrap().clone(),
        host: "h".to_owned(),
        pid: 1,
        started: Timestamp::now(),
        queues: std::collections::BTreeMap::new(),
    };
    let beat = crate::ports::Beat {
        running: vec![(spec.id.clone(), Fence(1)), (spec.id.clone(), life.fence)],
        worker: info.clone(),
    };
    let pulse = sqlite.beat(beat).await.unwrap();
    assert_eq!((pulse.lost.len(), pulse.cancelled.len()), (1, 0));
    assert!(sqlite.orphans(10).await.unwrap().is_empty());
    assert_eq!(sqlite.workers().await.unwrap(), std::slice::from_ref(&info));
    file.poke("UPDATE workers SET pid = 4194999");
    assert!(!sqlite.is_alive(&info.id).await.unwrap());
}

#[tokio::test]
async fn the_doctor_finds_a_sound_file() {
    let file = File::new();
    let sqlite = file.open().await;
    let findings = Store::check(&*sqlite).await;
    let wrong = findings
        .iter()
        .filter(|it| it.level != crate::ports::Level::Fine);
    assert_eq!(wrong.count(), 0, "{findings:?}");
    assert!(findings.len() >= 3);
}

impl Sqlite {
    async fn close_store(&self) {
        Store::close(self).await;
    }
}

#[tokio::test]
async fn closing_gives_everything_back_and_leaves_one_file() {
    let file = File::new();
    let sqlite = file.open().await;
    publish(&sqlite, lane()).await;
    let mut inbox = consume(&sqlite, 5).await;
    let _held = next(&mut inbox).await;
    soon(sqlite.close_store()).await;
    assert!(soon(inbox.0.recv()).await.is_none());
    assert!(sqlite.find(&JobId::new()).await.is_err());
    until(async || std::fs::read_dir(file.0.path()).unwrap().count() == 1).await;
    assert_eq!(file.ask("SELECT count(*) FROM ready"), 1);
    assert_eq!(file.ask("SELECT count(*) FROM sessions"), 0);
}
