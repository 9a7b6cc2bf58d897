//! Claims about finding many: filters, pages, counts, and forgetting.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use haul_common::{
    filter::Filter,
    job::{JobId, Lane, Reason, Record, StateKind, WorkerId},
    life::Life,
    ports::{PageRequest, QueueCounts, Store},
    time::Timestamp,
};

use super::changes::{apply, finish};
use crate::jobs::{claim, failed, granted, queue, record, running, spec};

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000)
}

/// All that a filter finds, page by page.
async fn listed(store: &dyn Store, filter: &str, limit: usize) -> Vec<Record> {
    let filter: Filter = filter.parse().unwrap();
    let (mut records, mut after) = (Vec::new(), None);
    for _ in 0..1000 {
        let page = store
            .list(&filter, PageRequest { limit, after })
            .await
            .unwrap();
        assert!(page.records.len() <= limit);
        records.extend(page.records);
        after = page.next;
        if after.is_none() {
            return records;
        }
    }
    panic!("a list without end");
}

fn ids(records: &[Record]) -> Vec<JobId> {
    records
        .iter()
        .map(|record| record.spec.id.clone())
        .collect()
}

/// Twelve jobs that differ in everything that a filter can ask for, oldest first.
fn mixture() -> Vec<Record> {
    let now = Timestamp::now();
    let dead = |reason, error: &str| Life::stillborn(reason, error.to_owned(), now);
    let lives = [
        Life::queued(),
        dead(Reason::Fatal, "SMTP Timeout"),
        Life::scheduled(now + Duration::from_secs(3600)),
        dead(Reason::Rejected, "100% refused_by \\ rule*"),
        Life::blocked(),
        dead(Reason::Fatal, "no route"),
    ];
    let numbers = 0..12_u32;
    let make = |n: u32| {
        let mut spec = spec(["mail", "images", "default"][n as usize % 3], u64::from(n));
        let tasks = ["email.send", "email.read", "emailer", "image.scale"];
        spec.task = tasks[n as usize % 4].parse().unwrap();
        spec.lane = Lane::ALL[n as usize / 3];
        if n.is_multiple_of(2) {
            spec.tags.push("eu".parse().unwrap());
        }
        if n.is_multiple_of(3) {
            spec.tags.push("big".parse().unwrap());
        }
        if n >= 8 {
            spec.batch = Some("batch-1".parse().unwrap());
        }
        let life = lives[n as usize % 6].clone();
        Record::new(spec, life, ago(i64::from(12 - n) * 600))
    };
    numbers.map(make).collect()
}

/// Each word of a filter chooses what the filter itself says it means, alone and with others.
pub async fn every_word_of_a_filter_chooses(store: &dyn Store) {
    let records = mixture();
    store.create(records.clone()).await.unwrap();
    let filters = [
        "",
        "state:dead",
        "state:queued,blocked",
        "state:running",
        "task:email.send",
        "task:email.*",
        "task:email",
        "task:*",
        "queue:images",
        "lane:low",
        "reason:fatal",
        "error:timeout",
        "error:TIMEOUT",
        "error:100%",
        "error:refused_by",
        "error:\\",
        "error:*",
        "error:%",
        "tag:eu",
        "tag:eu tag:big",
        "tag:e",
        "batch:batch-1",
        "batch:none",
        "age:>1h",
        "age:<1h",
        "age:>30m age:<90m",
        "state:dead queue:images reason:fatal",
        "queue:mail tag:eu age:>1h",
        "state:dead task:image.* error:route",
        "queue:mail lane:critical batch:batch-1",
    ];
    for text in filters {
        let filter: Filter = text.parse().unwrap();
        let meant = records.iter().rev();
        let meant = meant.filter(|record| filter.matches(record, Timestamp::now()));
        let meant: Vec<_> = meant.map(|record| record.spec.id.clone()).collect();
        for limit in [2, 100] {
            let found = ids(&listed(store, text, limit).await);
            assert_eq!(found, meant, "`{text}`, {limit} at a time");
        }
    }
    let all = PageRequest {
        limit: records.len(),
        after: None,
    };
    let page = store.list(&Filter::default(), all).await.unwrap();
    assert_eq!(page.next, None, "nothing comes after the last");
}

/// A filter sees a job where it is now, not where it was.
pub async fn a_filter_follows_a_job_through_its_life(store: &dyn Store) {
    let spec = spec("mail", 1);
    running(store, &spec, &WorkerId::random()).await;
    let everywhere = || async {
        let mut found = Vec::new();
        for state in StateKind::ALL {
            let filter = format!("state:{state}");
            found.extend(listed(store, &filter, 10).await.iter().map(|_| *state));
        }
        found
    };
    assert_eq!(everywhere().await, [StateKind::Running]);
    let stop = failed("Disk Full");
    apply(store, &spec.id, |life| {
        life.die(Reason::Fatal, stop, store.now())
    })
    .await;
    assert_eq!(everywhere().await, [StateKind::Dead]);
    assert_eq!(listed(store, "error:disk reason:fatal", 10).await.len(), 1);
    apply(store, &spec.id, Life::redrive).await;
    assert_eq!(everywhere().await, [StateKind::Queued]);
    assert!(listed(store, "reason:fatal", 10).await.is_empty());
}

/// 250 records, many of the same millisecond.
fn crowd() -> Vec<Record> {
    let created = ago(1000).as_millis();
    let make = |n: i64| Record {
        created: Timestamp::from_millis(created + n / 20),
        ..record(spec("mail", n.unsigned_abs()))
    };
    (0..250).map(make).collect()
}

/// Pages have no gap and nothing twice, newest first, whatever their size.
pub async fn pages_have_no_gap_and_nothing_twice(store: &dyn Store) {
    let records = crowd();
    store.create(records.clone()).await.unwrap();
    for limit in [1, 7, 50, 249, 250, 251, 1000] {
        let found = listed(store, "", limit).await;
        assert_eq!(found.len(), 250, "{limit} at a time");
        let different: HashSet<_> = ids(&found).into_iter().collect();
        assert_eq!(different.len(), 250, "{limit} at a time");
        assert!(
            found.is_sorted_by(|a, b| a.created >= b.created),
            "{limit} at a time"
        );
    }
}

/// What comes or changes between two pages takes nothing else away.
pub async fn pages_stay_whole_while_jobs_come_and_change(store: &dyn Store) {
    let records = crowd();
    store.create(records.clone()).await.unwrap();
    let (mut seen, mut after, mut n) = (Vec::new(), None, 0);
    loop {
        let page = PageRequest { limit: 40, after };
        let page = store.list(&Filter::default(), page).await.unwrap();
        seen.extend(ids(&page.records));
        after = page.next;
        if after.is_none() {
            break;
        }
        store
            .create(vec![record(spec("mail", 1000 + n))])
            .await
            .unwrap();
        let id = &records[usize::try_from(n).unwrap()].spec.id;
        apply(store, id, |life| life.cancel(store.now())).await;
        n += 1;
    }
    let wanted: HashSet<_> = ids(&records).into_iter().collect();
    let found: Vec<_> = seen.iter().filter(|id| wanted.contains(*id)).collect();
    let different: HashSet<_> = found.iter().collect();
    assert_eq!((found.len(), different.len()), (250, 250));
}

/// How many jobs there are, by queue and state.
pub(super) async fn counted(store: &dyn Store) -> BTreeMap<(String, StateKind), u64> {
    let mut counted = BTreeMap::new();
    for QueueCounts { queue, states } in store.counts().await.unwrap() {
        for (state, count) in states {
            assert_ne!(count, 0, "{queue} {state}");
            counted.insert((queue.to_string(), state), count);
        }
    }
    counted
}

/// Counts are by queue and state, and move with the jobs.
pub async fn counts_follow_the_jobs(store: &dyn Store) {
    assert!(counted(store).await.is_empty());
    let make = |name, count| (0..count).map(move |n| record(spec(name, n)));
    let records: Vec<_> = make("mail", 5).chain(make("images", 2)).collect();
    store.create(records.clone()).await.unwrap();
    store.create(records.clone()).await.unwrap();
    let at = |queue: &str, state| (queue.to_owned(), state);
    let queued = |name| at(name, StateKind::Queued);
    let expected = BTreeMap::from([(queued("mail"), 5), (queued("images"), 2)]);
    assert_eq!(counted(store).await, expected);
    running(store, &records[0].spec, &WorkerId::random()).await;
    apply(store, &records[1].spec.id, |life| life.cancel(store.now())).await;
    finish(store, &records[0].spec.id, ago(1)).await;
    let mut expected = BTreeMap::from([
        (queued("mail"), 3),
        (queued("images"), 2),
        (at("mail", StateKind::Succeeded), 1),
        (at("mail", StateKind::Cancelled), 1),
    ]);
    assert_eq!(counted(store).await, expected);
    assert_eq!(store.expire(10).await.unwrap(), 1);
    expected.remove(&at("mail", StateKind::Succeeded));
    assert_eq!(counted(store).await, expected);
    assert_eq!(queue("mail").to_string(), "mail");
}

/// Only what ended is forgotten, and only when its time is over, with all that was saved of it.
pub async fn only_what_ended_is_forgotten_and_only_in_time(store: &dyn Store) {
    let worker = WorkerId::random();
    let specs: Vec<_> = (0..5).map(|n| spec("mail", n)).collect();
    for spec in &specs {
        running(store, spec, &worker).await;
    }
    let [over, not_yet, redriven, again, runs] = specs.try_into().unwrap();
    finish(store, &over.id, ago(1)).await;
    let in_a_minute = store.now() + Duration::from_secs(60);
    finish(store, &not_yet.id, in_a_minute).await;
    for spec in [&redriven, &again] {
        let life = crate::jobs::found(store, &spec.id).await.life;
        let change = haul_common::ports::Change {
            id: spec.id.clone(),
            step: life.die(Reason::Fatal, failed("x"), ago(2)).unwrap(),
            expires: Some(ago(1)),
            edit: None,
        };
        store.apply(change).await.unwrap();
        apply(store, &spec.id, Life::redrive).await;
    }
    granted(store.claim(claim(&again, &worker)).await.unwrap());
    finish(store, &again.id, in_a_minute).await;
    assert_eq!(store.expire(10).await.unwrap(), 1);
    assert_eq!(store.expire(10).await.unwrap(), 0);
    assert!(store.find(&over.id).await.unwrap().is_none());
    for kept in [not_yet, redriven, again, runs] {
        assert!(store.find(&kept.id).await.unwrap().is_some());
    }
    assert_eq!(listed(store, "", 10).await.len(), 4);
}

/// No more is forgotten at once than asked for.
pub async fn forgetting_goes_a_few_at_a_time(store: &dyn Store) {
    for n in 0..5 {
        let spec = spec("mail", n);
        running(store, &spec, &WorkerId::random()).await;
        finish(store, &spec.id, ago(1)).await;
    }
    for expected in [2, 2, 1, 0] {
        assert_eq!(store.expire(2).await.unwrap(), expected);
    }
    assert!(listed(store, "", 10).await.is_empty());
}
