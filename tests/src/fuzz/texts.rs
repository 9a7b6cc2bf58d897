//! Texts that people write: filters, times, backoffs, names, settings, URLs.

use std::{fmt::Write, str::FromStr, time::Duration};

use haul_common::{
    filter::Filter,
    job::{
        Backoff, BatchId, JobId, Lane, Outcome, QueueName, Reason, ScriptName, ScriptVersion,
        StateKind, Tag, TaskName, WorkerId,
    },
    protocol::LeaseToken,
    rabbitmq, redis,
    time::{Timestamp, parse_duration, show_duration},
    wire::topology::{Namespace, delay_route, origin_of},
};

use super::{Target, Verdict, refused, text};

const FILTERS: &[&str] = &[
    "state:dead task:email.* queue:mail error:timeout tag:eu age:>1h",
    "state:queued,dead reason:fatal lane:normal age:<3h",
    "batch:b-1 tag:a tag:b",
    "",
    "task:* age:>0",
];
const DURATIONS: &[&str] = &[
    "250ms",
    "30s",
    "5m",
    "1h30m",
    "1.5",
    "0",
    "1d",
    "2w 3d",
    "90 minutes",
    "1e3",
    "PT5M",
    "-3s",
    "9223372036854775807s",
    "1us",
    "0.1s",
];
const TIMES: &[&str] = &[
    "2027-01-31T09:30:00Z",
    "2027-01-31T10:30:00.250+01:00",
    "9999-12-30T22:00:00.999999999Z",
    "-009999-01-02T01:59:59Z",
    "1969-12-31T23:59:59.999Z",
    "2016-12-31T23:59:60Z",
];
const BACKOFFS: &[&str] = &[
    "exponential(1s,2,1h)",
    "exponential(1ms,1.0001,365d)",
    "fixed(30s)",
    "list(1s,10s,5m)",
    "none",
];
const NAMES: &[&str] = &[
    "email.send",
    "mail",
    "mail.low",
    "0.1.0.mail.critical",
    "order-4711",
    "1800000000000:order-4711",
    "dead",
    "timed_out",
    "critical",
    "exhausted",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "0123456789abcdef0123456789abcdef.7.89abcdef",
];
const SETTINGS: &[&str] = &[
    "broker = \"amqp://me:s3cret@localhost/jobs\"\nstore = \"redis://:s3cret@localhost/0\"\n\
     namespace = \"haul\"\nlog = \"info\"\n\n[worker]\nqueues = [\"default\", \"mail=8\"]\n\
     grace = \"30s\"\nallow_shell = false\nstrict_lanes = false\n\n\
     [shell]\nprograms = [\"gzip\"]\nenv = [\"LC_*\"]\nmemory = \"512MiB\"\nopen_files = 9\n",
    "worker = { queues = ['a'], grace = '1s' }",
    "",
];
const URLS: &[&str] = &[
    "amqp://me:s3cret@localhost:5672/jobs?heartbeat=5",
    "amqps://host",
    "amqp://[::1]:5672/%2f?channel_max=7&connection_timeout=10",
];

pub(super) fn targets() -> Vec<Target> {
    let target = Target::of_text;
    let units: &[&str] = &[
        "s", "ms", "h", "-", ".", "e", " ", "µs", "years", "T", "Z", "+01:00",
    ];
    vec![
        target(
            "filter",
            100_000,
            FILTERS,
            &[
                "state:", "task:", "age:>", "age:<", "tag:", "*", ",", ":", " ", "\u{a0}", "dead",
            ],
            filter,
        ),
        target("duration", 70_000, DURATIONS, units, duration),
        target("time", 70_000, TIMES, units, time),
        target(
            "backoff",
            70_000,
            BACKOFFS,
            &[
                "(",
                ")",
                ",",
                "exponential",
                "list",
                "fixed",
                "1s",
                "1e2",
                "365d",
            ],
            backoff,
        ),
        target(
            "name",
            60_000,
            NAMES,
            &[".", ":", "-", "_", "/", "{", "*"],
            name,
        ),
        target(
            "settings",
            20_000,
            SETTINGS,
            &[
                "=",
                "[",
                "]",
                "\"",
                "'''",
                "[[",
                "worker",
                "\n",
                ".",
                "#",
                "{",
                "1979-05-27",
            ],
            settings,
        ),
        target(
            "url",
            10_000,
            URLS,
            &["://", "@", ":", "/", "?", "&", "%", "[", "s3cret"],
            url,
        ),
    ]
}

fn filter(input: &[u8]) -> Verdict {
    match text(input).parse::<Filter>() {
        Ok(filter) => {
            let written = written(&filter);
            let again = written.parse::<Filter>();
            assert_eq!(again.as_ref(), Ok(&filter), "from {written:?}");
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}

/// A filter as somebody would write it.
fn written(filter: &Filter) -> String {
    let mut text = String::new();
    let mut word = |key: &str, value: &dyn std::fmt::Display| {
        write!(text, "{key}:{value} ").unwrap();
    };
    for state in &filter.states {
        word("state", state);
    }
    if let Some(task) = &filter.task {
        word(
            "task",
            &format!("{}{}", task.text, if task.prefix { "*" } else { "" }),
        );
    }
    filter.queue.iter().for_each(|queue| word("queue", queue));
    filter.lane.iter().for_each(|lane| word("lane", lane));
    filter
        .reason
        .iter()
        .for_each(|reason| word("reason", reason));
    filter.error.iter().for_each(|error| word("error", error));
    filter.tags.iter().for_each(|tag| word("tag", tag));
    filter.batch.iter().for_each(|batch| word("batch", batch));
    let mut age = |sign: char, age: &Duration| {
        word("age", &format!("{sign}{}", show_duration(*age)));
    };
    filter.older_than.iter().for_each(|than| age('>', than));
    filter.newer_than.iter().for_each(|than| age('<', than));
    text
}

fn duration(input: &[u8]) -> Verdict {
    match parse_duration(&text(input)) {
        Ok(wait) => {
            let shown = show_duration(wait);
            assert_eq!(parse_duration(&shown).ok(), Some(wait), "shown as {shown}");
            let mail = QueueName::default_queue();
            if let Some(route) = delay_route(&mail, Lane::Low, wait, true) {
                assert!(route.key.len() < 255);
            }
            let _ = Timestamp::now() + wait;
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}

fn time(input: &[u8]) -> Verdict {
    match text(input).parse::<Timestamp>() {
        Ok(at) => {
            assert_eq!(
                at.to_string().parse::<Timestamp>().ok(),
                Some(at),
                "shown as {at}"
            );
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}

fn backoff(input: &[u8]) -> Verdict {
    match text(input).parse::<Backoff>() {
        Ok(backoff) => {
            let shown = backoff.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&backoff), "shown as {shown}");
            for attempt in [0, 1, 2, 33, 1000, u32::MAX] {
                for jitter in [-1.0, 0.0, 0.5, 1.0, f64::INFINITY] {
                    let wait = backoff.delay(attempt, jitter);
                    assert!(wait <= Duration::from_secs(365 * 24 * 3600), "{wait:?}");
                }
            }
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}

fn name(input: &[u8]) -> Verdict {
    fn is<T: FromStr<Err: ToString> + ToString>(text: &str) -> bool {
        match text.parse::<T>() {
            Ok(name) => {
                assert_eq!(name.to_string(), text);
                true
            }
            Err(error) => {
                refused(&error);
                false
            }
        }
    }
    let text = text(input);
    let names = [
        is::<JobId>(&text),
        is::<BatchId>(&text),
        is::<WorkerId>(&text),
        is::<TaskName>(&text),
        is::<QueueName>(&text),
        is::<Tag>(&text),
        is::<Lane>(&text),
        is::<StateKind>(&text),
        is::<Reason>(&text),
        is::<Outcome>(&text),
        is::<ScriptName>(&text),
        is::<ScriptVersion>(&text),
        lease(&text),
    ];
    let _ = origin_of(&text);
    let space = Namespace::new(&text).is_ok_and(|space| space.as_str() == text);
    assert_eq!(space, names[4], "a namespace is what a queue's name is");
    if let Ok(place) = redis::door::cursor(&text) {
        assert_eq!(redis::door::cursor(&place), Ok(place.clone()));
    }
    match names.contains(&true) {
        true => Verdict::Accepted,
        false => Verdict::Refused,
    }
}

fn lease(text: &str) -> bool {
    match text.parse::<LeaseToken>() {
        Ok(token) => {
            assert!(token.to_string().parse().as_ref() == Ok(&token), "{token}");
            true
        }
        Err(error) => {
            refused(&error);
            false
        }
    }
}

fn settings(input: &[u8]) -> Verdict {
    match haul::door::settings(&text(input)) {
        Ok(_) => Verdict::Accepted,
        Err(error) => {
            assert!(error.starts_with("line "), "{error}");
            refused(&error)
        }
    }
}

fn url(input: &[u8]) -> Verdict {
    match rabbitmq::door::address(&text(input)) {
        Ok(shown) => {
            assert!(shown.starts_with("amqp"), "{shown}");
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}
