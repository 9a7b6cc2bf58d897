//! What the answers of real servers, cut down, are taken for.

use super::{
    http::{Server, escape, understand},
    judge::{self, Node, Policy, Queue},
};
use crate::{
    ports::{Finding, Level},
    time::Timestamp,
};

fn queues(text: &str) -> Vec<Queue> {
    serde_json::from_str(text).unwrap()
}

fn only(found: Vec<Finding>) -> Finding {
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn an_answer_is_a_status_a_date_and_a_body() {
    let text = "HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 20:21:49 GMT\r\n\r\n[]";
    let (status, answer) = understand(text).unwrap();
    assert_eq!((status, &*answer.body), (200, "[]"));
    let there = Timestamp::from_http_date(&answer.date.unwrap()).unwrap();
    assert_eq!(there.to_string(), "2026-11-24T20:21:49.000Z");
    assert!(understand("AMQP\0\0\u{9}\u{1}").is_none());
}

#[test]
fn a_url_shows_without_its_password() {
    let server = Server::parse("http://me:p%40ss@[::1]/mq/").unwrap();
    assert_eq!(server.to_string(), "http://[::1]:15672/mq");
    for wrong in ["amqp://host", "host:15672", "http://"] {
        assert!(Server::parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(escape("/"), "%2F");
}

#[test]
fn alarms_and_cut_off_nodes_are_broken() {
    let nodes: Vec<Node> = serde_json::from_str(
        r#"[{"name": "a", "running": true, "mem_alarm": true, "partitions": ["b"]},
            {"name": "b", "running": false}]"#,
    )
    .unwrap();
    let found = judge::nodes(&nodes);
    let levels: Vec<Level> = found.iter().map(|it| it.level).collect();
    assert_eq!(levels, [Level::Broken, Level::Broken, Level::Warning]);
    let well: Vec<Node> = serde_json::from_str(r#"[{"name": "a", "running": true}]"#).unwrap();
    assert_eq!(only(judge::nodes(&well)).level, Level::Fine);
}

#[test]
fn a_queue_without_most_of_its_members_has_no_leader() {
    let well =
        r#"[{"name": "q", "leader": "a", "members": ["a", "b", "c"], "online": ["a", "b"]}]"#;
    assert_eq!(judge::leaders(&queues(well)).level, Level::Fine);
    for lost in [
        r#"[{"name": "q", "leader": "a", "members": ["a", "b", "c"], "online": ["a"]}]"#,
        r#"[{"name": "q", "members": ["a"], "online": ["a"]}]"#,
    ] {
        assert_eq!(judge::leaders(&queues(lost)).level, Level::Broken, "{lost}");
    }
}

#[test]
fn a_policy_that_drops_jobs_is_named_with_what_it_sets() {
    let text = r#"[
        {"name": "haul.q.x.low", "policy": "tidy",
         "effective_policy_definition": {"max-length": 10, "queue-leader-locator": "balanced"}},
        {"name": "haul.q.x.high", "policy": "tidy",
         "effective_policy_definition": {"max-length": 10}}]"#;
    let found = only(judge::policies(&queues(text)));
    assert_eq!(found.level, Level::Broken);
    for part in ["`tidy`", "max-length = 10", "haul.q.x.low, haul.q.x.high"] {
        assert!(found.detail.contains(part), "{}", found.detail);
    }
    // As 3.10 tells it: the name only.
    let mut named = queues(r#"[{"name": "haul.q.x.low", "policy": "tidy"}]"#);
    let definitions = r#"[{"name": "other", "definition": {"expires": 5}},
                          {"name": "tidy", "definition": {"message-ttl": 5}}]"#;
    let definitions: Vec<Policy> = serde_json::from_str(definitions).unwrap();
    named[0].learn(&definitions);
    let found = only(judge::policies(&named));
    assert!(found.detail.contains("message-ttl = 5"), "{}", found.detail);
    let harmless = r#"[{"name": "q", "policy": "", "effective_policy_definition": []}]"#;
    assert_eq!(only(judge::policies(&queues(harmless))).level, Level::Fine);
}

#[test]
fn a_short_consumer_timeout_is_found_in_policies_and_arguments() {
    for (text, level) in [
        (r#"[{"name": "q"}]"#, Level::Fine),
        (
            r#"[{"name": "q", "arguments": {"x-consumer-timeout": 5000}}]"#,
            Level::Broken,
        ),
        (
            r#"[{"name": "q", "effective_policy_definition": {"consumer-timeout": 600000}}]"#,
            Level::Broken,
        ),
        (
            r#"[{"name": "q", "effective_policy_definition": {"consumer-timeout": 900000}}]"#,
            Level::Fine,
        ),
    ] {
        assert_eq!(
            judge::consumer_timeout(&queues(text)).level,
            level,
            "{text}"
        );
    }
}

#[test]
fn clocks_that_are_apart_are_a_warning() {
    let date = || Some("Tue, 24 Nov 2026 20:21:49 GMT".to_owned());
    let there = Timestamp::from_http_date(&date().unwrap()).unwrap();
    for (here, level) in [
        (there, Level::Fine),
        (Timestamp::from_millis(0), Level::Warning),
    ] {
        assert_eq!(judge::clock(date(), here).level, level);
    }
    assert_eq!(judge::clock(Some("now".into()), there).level, Level::Fine);
}
