//! Replies of Redis, as bytes on its wire, and what servers say of themselves.

use haul_common::{
    job::{Fence, Reason, Record, Spec, json},
    life::{Life, Stop},
    ports::Level,
    rabbitmq::door::management,
    redis::door::{Shape, findings, read, record, written},
    time::Timestamp,
};
use redis::Value;

use super::{Target, Verdict, mutate::Source, refused, text};
use crate::jobs::{failed, spec};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const WORDS: &[&str] = &[
    "|",
    "$-1\r\n",
    "*0\r\n",
    ":1\r\n",
    "+OK\r\n",
    "_\r\n",
    "\r\n",
    "$5\r\nstate\r\n",
    "running",
    "succeeded",
    "dead",
    "%1\r\n",
    "~1\r\n",
    "*-1\r\n",
    "#t\r\n",
    ",1.5\r\n",
    "(99999999999999\r\n",
    "a:1",
    "null",
    "[",
    "{",
    "\"",
];

/// What a server says of itself.
const INFO: &[&str] = &[
    "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nused_memory:1000\r\nmaxmemory:4000\r\n\
     maxmemory_policy:noeviction\r\naof_enabled:1\r\nevicted_keys:0\r\n",
    "valkey_version:9.1.2\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n",
    "redis_version:6.0\r\naof_enabled:1\r\naof_last_write_status:err\r\n",
];
const INFO_WORDS: &[&str] = &[
    ":",
    "\r\n",
    ".",
    "maxmemory:",
    "aof_enabled:",
    "noeviction",
    "err",
];
/// What RabbitMQ's management API answers.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 20:21:49 GMT\r\n\r\n\
     {\"rabbitmq_version\":\"4.0.5\",\"erlang_version\":\"27\"}",
    "HTTP/1.0 200 OK\r\n\r\n[{\"name\":\"a\",\"running\":true,\"mem_alarm\":true,\"partitions\":[\"b\"]}]",
    "HTTP/1.1 200 OK\r\n\r\n[{\"name\":\"q\",\"leader\":\"a\",\"members\":[\"a\",\"b\",\"c\"],\
     \"online\":[\"a\"],\"policy\":\"p\",\"effective_policy_definition\":{\"max-length\":9},\
     \"arguments\":{\"x-consumer-timeout\":60000}}]",
    "HTTP/1.1 404 Not Found\r\n\r\n",
];

pub(super) fn targets() -> [Target; 4] {
    let source = |corpus| Source {
        corpus,
        words: WORDS,
        make: None,
        keeps_length: false,
    };
    [
        Target {
            name: "reply",
            share: 60_000,
            source: source(replies()),
            read: reply,
        },
        Target {
            name: "record",
            share: 40_000,
            source: source(
                records()
                    .iter()
                    .map(|record| bytes(&written(record)))
                    .collect(),
            ),
            read: whole_record,
        },
        Target {
            name: "info",
            share: 5000,
            source: Source::of_text(INFO, INFO_WORDS),
            read: info,
        },
        Target {
            name: "management",
            share: 5000,
            source: Source::of_text(
                ANSWERS,
                &["{", "[", "\"name\":", "null", "HTTP/1.1 200\r\n\r\n"],
            ),
            read: answer,
        },
    ]
}

/// Records in every part of life.
fn records() -> Vec<Record> {
    let spec: Spec = spec("mail", 7);
    let worker = || "w-1".parse().unwrap();
    let running = Life::queued().claim(worker(), Fence(7), NOW).unwrap().life;
    let stop = |what: &str| -> Stop { failed(what) };
    let text = json(&"a | result").unwrap();
    let large = json(&"x".repeat(200)).unwrap();
    let retry = running.retry(stop("no | luck"), NOW, NOW).unwrap();
    let lives = [
        Life::queued(),
        Life::scheduled(NOW),
        Life::blocked(),
        running.clone(),
        running.request_cancel().unwrap().life,
        running.succeed(text, NOW).unwrap().life,
        running.succeed(large, NOW).unwrap().life,
        retry.life.clone(),
        running.die(Reason::Fatal, stop("gone"), NOW).unwrap().life,
        Life::stillborn(Reason::Malformed, "body: not JSON".to_owned(), NOW),
    ];
    let mut records: Vec<_> = lives
        .map(|life| Record::new(spec.clone(), life, NOW))
        .into();
    let last = records.last_mut().unwrap();
    last.raw = Some(b"\xff{".to_vec());
    last.log = "one\ntwo".to_owned();
    last.attempts.extend(retry.ended);
    records
}

fn replies() -> Vec<Vec<u8>> {
    let bulk = |text: &str| Value::BulkString(text.into());
    let record = &records()[3];
    let Value::Array(fields) = written(record) else {
        unreachable!("a record is an array");
    };
    let head = "running|1|1800000000000000|0|1|0|1800000000000|0|1800000000000|w-1";
    let ids = || Value::Array(vec![Value::Int(1), Value::Int(0)]);
    let replies = [
        Value::Nil,
        Value::Array(vec![Value::Int(0), Value::Array(fields)]),
        Value::Array(vec![
            Value::Int(1),
            bulk("1800000000000"),
            bulk(head),
            Value::Nil,
        ]),
        Value::Int(1),
        Value::Array(vec![bulk("1800000000000"), ids(), ids()]),
        Value::Array(vec![
            bulk("1800000000000"),
            bulk("queued"),
            bulk("3"),
            bulk("dead"),
            bulk("-1"),
        ]),
        bulk("new"),
        bulk("conflict"),
        bulk("queued"),
        bulk("done"),
        bulk("missing"),
        Value::Array(vec![
            bulk("cp"),
            bulk("{\"n\":1}"),
            bulk("s:one"),
            bulk("[1]"),
        ]),
        Value::Array(vec![
            bulk("{}"),
            bulk("||1||"),
            bulk(head),
            Value::Nil,
            Value::Nil,
            Value::Nil,
        ]),
    ];
    let shapes = 0..u8::try_from(Shape::ALL.len()).unwrap();
    let all = |reply: &Value| -> Vec<Vec<u8>> {
        shapes
            .clone()
            .map(|shape| [&[shape][..], &bytes(reply)].concat())
            .collect()
    };
    replies.iter().flat_map(all).collect()
}

/// A reply on the wire.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Int(number) => format!(":{number}\r\n").into_bytes(),
        Value::BulkString(bytes) => {
            let head = format!("${}\r\n", bytes.len());
            [head.as_bytes(), bytes, b"\r\n"].concat()
        }
        Value::Array(values) => {
            let mut out = format!("*{}\r\n", values.len()).into_bytes();
            values.iter().for_each(|value| out.extend(bytes(value)));
            out
        }
        _ => b"$-1\r\n".to_vec(),
    }
}

fn reply(input: &[u8]) -> Verdict {
    let Some((shape, rest)) = input.split_first() else {
        return Verdict::Refused;
    };
    let shape = Shape::ALL[usize::from(*shape) % Shape::ALL.len()];
    match redis::parse_redis_value(rest).map(|value| read(shape, value)) {
        Ok(Ok(_)) => Verdict::Accepted,
        Ok(Err(error)) => refused(&error),
        Err(_) => Verdict::Refused,
    }
}

fn whole_record(input: &[u8]) -> Verdict {
    let Ok(value) = redis::parse_redis_value(input) else {
        return Verdict::Refused;
    };
    match record(value) {
        Ok(read) => {
            let again = record(written(&read)).expect("what was read can be kept");
            assert_eq!(format!("{:?}", again.life), format!("{:?}", read.life));
            assert_eq!(again.raw, read.raw);
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}

fn info(input: &[u8]) -> Verdict {
    let found = findings(&text(input));
    assert!(found.iter().all(|it| !it.detail.is_empty()));
    match found.iter().any(|it| it.level == Level::Broken) {
        true => Verdict::Refused,
        false => Verdict::Accepted,
    }
}

fn answer(input: &[u8]) -> Verdict {
    match management(&text(input)) {
        Ok(found) => {
            assert!(found.iter().all(|it| !it.detail.is_empty()));
            Verdict::Accepted
        }
        Err(_) => Verdict::Refused,
    }
}
