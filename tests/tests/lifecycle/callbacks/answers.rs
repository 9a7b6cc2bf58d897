//! What follows from each answer, and from none.

use std::time::{Duration, SystemTime};

use haul_common::job::{Outcome, Reason, Record, StateKind};
use haul_tests::{
    fleet::{Fleet, history, reason, until},
    receiver::Reply,
};
use serde_json::{Value, json};

use super::{OK, called, local, ok};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_has_its_end() {
    let fleet = Fleet::embedded().await;
    let _worker = local(&fleet).await;
    let good = [(1, Outcome::Failed), (2, Outcome::Succeeded)];
    let fatal = [(1, Outcome::Failed)];
    for status in [500, 502, 408, 425] {
        let (record, _) = called(&fleet, [Reply::of(status, &[], ""), ok()], json!({})).await;
        assert_eq!(history(&record), good, "{status}");
    }
    for (status, head, why) in [
        (
            404,
            "x: y",
            "404 Not Found: no such thing (no retry can help)",
        ),
        (
            410,
            "x: y",
            "410 Gone: no such thing (the receiver wants no more of it)",
        ),
        (
            500,
            "haul-stop: true",
            "500 Internal Server Error: no such thing (the receiver said",
        ),
        (
            302,
            "location: http://10.0.0.1/",
            "redirected to http://10.0.0.1/; redirects are not",
        ),
    ] {
        let reply = Reply::of(status, &[head], "no such thing");
        let (record, receiver) = called(&fleet, [reply, ok()], json!({})).await;
        assert_eq!(history(&record), fatal, "{status}");
        assert_eq!(reason(&record), Reason::Fatal);
        let error = record.life.error.unwrap();
        assert!(error.contains(why), "{error}");
        assert_eq!(receiver.asked().len(), 1);
    }
    let (record, _) = called(
        &fleet,
        [Reply::of(404, &[], "")],
        json!({"expect": [204, 404]}),
    )
    .await;
    assert_eq!(record.life.state.kind(), StateKind::Succeeded);
    let (record, _) = called(&fleet, [ok()], json!({"expect": 204})).await;
    assert_eq!(record.life.error.unwrap(), "200 OK: done (expected 204)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_connection_is_told_and_retried() {
    let fleet = Fleet::embedded().await;
    let _worker = local(&fleet).await;
    let quick = || json!({"timeout_ms": 300});
    let (record, flooded) = called(&fleet, [Reply::Flood], json!({})).await;
    assert_eq!(history(&record), [(1, Outcome::Succeeded)]);
    let answer: Value = serde_json::from_str(result_text(&record)).unwrap();
    assert_eq!(answer["body"].as_str().unwrap().len(), 64 * 1024);
    assert_eq!(answer["truncated"], true);
    until("the flood to be cut off", || async {
        flooded.hung_up() == 1
    })
    .await;
    for (reply, why) in [
        (Reply::Cut(""), "onnection"),
        (Reply::Cut(OK), "the answer broke off"),
        (Reply::Bytes(b"nonsense\r\n\r\n".to_vec()), "invalid HTTP"),
        (Reply::Silence(""), "no whole answer came within 300ms"),
        (Reply::Silence(OK), "no whole answer came within 300ms"),
    ] {
        let (record, _) = called(&fleet, [reply.clone(), ok()], quick()).await;
        let ends = [(1, Outcome::Failed), (2, Outcome::Succeeded)];
        assert_eq!(history(&record), ends, "{reply:?}");
        let first = &record.attempts[0];
        let error = first.error.as_deref().unwrap();
        assert!(error.contains(why), "{reply:?}: {error}");
        assert!(first.log.contains("no answer after"), "{}", first.log);
    }
    // A head that says enough: the rest need not come.
    let gone = Reply::Silence("HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\n");
    let (record, _) = called(&fleet, [gone], quick()).await;
    assert_eq!(reason(&record), Reason::Fatal);
}

fn result_text(record: &Record) -> &str {
    match &record.life.state {
        haul_common::job::State::Succeeded { result, .. } => result.get(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_waited_for_in_seconds_and_as_a_date() {
    let fleet = Fleet::embedded().await;
    let _worker = local(&fleet).await;
    let second = async |value: &str| {
        let head = format!("retry-after: {value}");
        let replies = [Reply::of(500, &[&head], ""), ok()];
        let (record, _) = called(&fleet, replies, json!({})).await;
        let [first, second] = record.attempts.try_into().unwrap();
        (second.started, second.started.since(first.finished))
    };
    let (_, waited) = second("2").await;
    assert!(waited >= Duration::from_millis(1800), "{waited:?}");
    let at = SystemTime::now() + Duration::from_secs(4);
    let (started, _) = second(&httpdate::fmt_http_date(at)).await;
    // A date has whole seconds.
    let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(
        started.as_millis().unsigned_abs() >= at * 1000 - 200,
        "{started}"
    );
}
