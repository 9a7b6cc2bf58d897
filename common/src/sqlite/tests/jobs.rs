//! Claims about what is known.

use super::*;

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
    let me = WorkerId::random();
    let orphans = sqlite.orphans(&me, &|_| true, 10).await.unwrap();
    assert_eq!(orphans.len(), 1);
    let info = crate::ports::WorkerInfo {
        id: life.state.worker().unwrap().clone(),
        host: "h".to_owned(),
        pid: 1,
        started: Timestamp::now(),
        queues: std::collections::BTreeMap::new(),
        quiet: false,
    };
    let beat = crate::ports::Beat {
        running: vec![(spec.id.clone(), Fence(1)), (spec.id.clone(), life.fence)],
        worker: info.clone(),
    };
    let pulse = sqlite.beat(beat).await.unwrap();
    assert_eq!((pulse.lost.len(), pulse.forgotten.len()), (1, 0));
    let left = sqlite.orphans(&me, &|_| true, 10).await.unwrap();
    assert!(left.is_empty());
    assert_eq!(sqlite.workers().await.unwrap(), std::slice::from_ref(&info));
    file.poke("UPDATE workers SET pid = 4194999");
    assert!(!sqlite.is_alive(&info.id, false).await.unwrap());
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
