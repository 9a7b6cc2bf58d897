//! Messages: properties and headers as they are on the wire, and a body.

use bytes::Bytes;
use fastrand::Rng;
use haul_common::{
    job::{Envelope, Lane, QueueName, Reason, Record, Spec},
    life::Life,
    rabbitmq::door,
    redis::door as redis_door,
    time::Timestamp,
    wire::{Head, Message, dead, decode, encode, header as h, salvage},
};
use lapin::protocol::basic::parse_properties;

use super::{Target, Verdict, mutate::Source, refused};
use crate::raw_amqp::{Properties, entry, long, nested, short};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// Golden messages: what was published once must be read for ever.
const GOLDEN: [&str; 7] = [
    include_str!("../../golden/all-headers.json"),
    include_str!("../../golden/dead-letter.json"),
    include_str!("../../golden/guard.json"),
    include_str!("../../golden/submitted.json"),
    include_str!("../../golden/numbers-as-text.json"),
    include_str!("../../golden/minimal.json"),
    include_str!("../../golden/run-at.json"),
];
/// Headers that mean something.
const KNOWN: [&str; 20] = [
    h::RUN_AT,
    h::DELAY_MS,
    h::DEADLINE,
    h::MAX_ATTEMPTS,
    h::TIMEOUT_MS,
    h::BACKOFF,
    h::RETENTION_S,
    h::TAGS,
    h::ATTEMPT,
    h::GUARD,
    h::FENCE,
    h::REDRIVE,
    h::EARLIER,
    "traceparent",
    "tracestate",
    h::REASON,
    h::ERROR,
    h::QUEUE,
    h::LANE,
    "x-death",
];
const TEXTS: [&str; 17] = [
    "",
    "1",
    "-1",
    "18446744073709551615",
    "2027-01-31T10:00:00Z",
    "-009999-01-01T00:00:00Z",
    "exponential(1s,2,1h)",
    "list(1s,10s,5m)",
    "fixed(99999999999s)",
    "none",
    "eu,big",
    ",,a,,",
    "mail",
    "email.send",
    "6b86b273ff34fce19d6b804eff5a3f57,d4735e3a265e16eee03f59718b9b5d03",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "Größe 🚚",
];
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "1e400",
    "-0",
    ",",
    ":",
    "\u{1}",
    "run_at",
    "attempt",
    "fence",
    "x-",
    "email.send",
    "S\0\0\0\x01a",
    "l",
    "F",
    "A",
    "V",
];

pub(super) fn targets() -> [Target; 2] {
    let golden = || GOLDEN.iter().map(|text| golden(text));
    let wire = Source {
        corpus: golden()
            .map(|message| {
                let headers = message.head.headers.iter();
                let headers = headers.flat_map(|(name, value)| {
                    let text = value_text(value);
                    entry(name.as_bytes(), b'S', &long(text.as_bytes()))
                });
                let own = |text: &Option<String>| text.clone().map(String::into_bytes);
                let properties = Properties {
                    content_type: own(&message.head.content_type),
                    headers: Some(headers.collect()),
                    correlation_id: own(&message.head.correlation_id),
                    reply_to: own(&message.head.reply_to),
                    message_id: own(&message.head.message_id),
                    kind: own(&message.head.kind),
                };
                framed(&properties.bytes(), &message.body)
            })
            .collect(),
        words: WORDS,
        make: Some(make),
        keeps_length: false,
    };
    let stored = Source {
        corpus: golden()
            .map(|message| {
                let head = serde_json::to_vec(&message.head).unwrap();
                framed(&head, &message.body)
            })
            .collect(),
        words: WORDS,
        make: None,
        keeps_length: false,
    };
    [
        Target {
            name: "message",
            share: 279_700,
            source: wire,
            read: from_the_wire,
        },
        Target {
            name: "stored-message",
            share: 100_000,
            source: stored,
            read: from_a_file,
        },
    ]
}

fn value_text(value: &haul_common::job::HeaderValue) -> String {
    let json = serde_json::to_value(value).unwrap();
    json.as_str()
        .map_or_else(|| json.to_string(), str::to_owned)
}

fn golden(text: &str) -> Message {
    let golden: serde_json::Value = serde_json::from_str(text).unwrap();
    Message {
        head: serde_json::from_value(golden["head"].clone()).unwrap(),
        body: Bytes::from(golden["body"].as_str().unwrap().to_owned()),
    }
}

/// A head behind its length, then a body.
fn framed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(head.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], head, body].concat()
}

fn parts(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = input.split_first_chunk::<2>() else {
        return (input, &[]);
    };
    let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
    rest.split_at(len)
}

/// A message of all that AMQP can say, most of it odd.
fn make(rng: &mut Rng) -> Vec<u8> {
    let mut headers = Vec::new();
    let count = if rng.u8(..) == 0 {
        1000
    } else {
        rng.usize(..6)
    };
    for n in 0..count {
        let name = match rng.u8(..8) {
            0 => format!("h{n}").into_bytes(),
            1 => vec![rng.u8(..); rng.usize(..200)],
            _ => KNOWN[rng.usize(..KNOWN.len())].as_bytes().to_vec(),
        };
        headers.extend(header(rng, &name));
    }
    let mut text = |one_in: u8, right: &str| {
        (rng.u8(..one_in) > 0).then(|| match rng.u8(..16) {
            0 => TEXTS[rng.usize(..TEXTS.len())].as_bytes().to_vec(),
            1 => vec![rng.u8(..); rng.usize(..255)],
            _ => right.as_bytes().to_vec(),
        })
    };
    let properties = Properties {
        content_type: text(4, "application/json"),
        correlation_id: text(2, "batch-9"),
        reply_to: text(2, "answers"),
        message_id: text(16, "order-4711"),
        kind: text(16, "email.send"),
        headers: Some(headers),
    };
    let body = [
        "{\"to\":\"ada\",\"n\":1}",
        "null",
        "[1e400]",
        "{\"a\":1}",
        "\"\\ud800\"",
        "",
    ];
    let body = body[rng.usize(..body.len())];
    framed(&properties.bytes(), body.as_bytes())
}

/// A header of any kind that AMQP, as RabbitMQ has it, knows.
fn header(rng: &mut Rng, name: &[u8]) -> Vec<u8> {
    let kinds = b"SSSSlltbBsuIiLfdDATFxVq";
    let kind = kinds[rng.usize(..kinds.len())];
    let mut bytes = |count: usize| -> Vec<u8> { (0..count).map(|_| rng.u8(..)).collect() };
    let value = match kind {
        b'S' => {
            let text = TEXTS[usize::from(bytes(1)[0]) % TEXTS.len()];
            long(text.as_bytes())
        }
        b't' => vec![bytes(1)[0] & 1],
        b'b' | b'B' => bytes(1),
        b's' | b'u' => bytes(2),
        b'I' | b'i' | b'f' => bytes(4),
        // Small ones most often: those are numbers of attempts.
        b'l' | b'L' if bytes(1)[0] > 40 => vec![0, 0, 0, 0, 0, 0, 0, bytes(1)[0]],
        b'l' | b'L' | b'd' | b'T' => bytes(8),
        b'D' => bytes(5),
        b'A' | b'F' => nested(kind, 1 + usize::from(bytes(1)[0]) % 20),
        b'x' => {
            let some = bytes(5);
            long(&some)
        }
        b'V' => Vec::new(),
        _ => short(b"no such kind"),
    };
    entry(name, kind, &value)
}

fn from_the_wire(input: &[u8]) -> Verdict {
    let (properties, body) = parts(input);
    // Class, weight, and size of the body.
    let mut frame = [&[0; 12][..], properties].concat();
    door::wash(&mut frame);
    let Ok((_, properties)) = parse_properties(&frame[12..]) else {
        return refused(&"no properties");
    };
    read(Message {
        head: door::head(&properties),
        body: Bytes::copy_from_slice(body),
    })
}

fn from_a_file(input: &[u8]) -> Verdict {
    let (head, body) = parts(input);
    match serde_json::from_slice::<Head>(head) {
        Ok(head) => read(Message {
            head,
            body: Bytes::copy_from_slice(body),
        }),
        Err(error) => refused(&error),
    }
}

fn read(message: Message) -> Verdict {
    let queue = QueueName::default_queue();
    let origin = (&queue, Lane::High);
    match decode(&message, origin, NOW) {
        Ok(envelope) => {
            sent_again_says_the_same(&envelope, origin);
            stored_says_the_same(&envelope.spec);
            Verdict::Accepted
        }
        Err(error) => {
            let spec = salvage(&message, origin);
            spec.validate().unwrap();
            let life = Life::stillborn(Reason::Malformed, error.to_string(), NOW);
            door::properties(&dead(message, &spec, &life).head).expect("a dead letter can be sent");
            stored_says_the_same(&spec);
            refused(&error)
        }
    }
}

fn spec_text(spec: &Spec) -> String {
    serde_json::to_string(spec).unwrap()
}

fn sent_again_says_the_same(envelope: &Envelope, origin: (&QueueName, Lane)) {
    let sent = encode(envelope);
    let properties = door::properties(&sent.head).expect("what was read can be sent");
    let head = door::head(&properties);
    assert_eq!(head, sent.head, "AMQP carries it as it is");
    let again = decode(&Message { head, ..sent }, origin, NOW).expect("what was sent is read");
    assert_eq!(spec_text(&again.spec), spec_text(&envelope.spec));
    assert_eq!(again.spec.digest(), envelope.spec.digest());
    // What is due after all time that can be written is due at its end.
    let due = |e: &Envelope| e.due.map(|due| due.to_string());
    let rest = |e: &Envelope| (e.attempt, due(e), e.guard, e.fence, e.redrive);
    assert_eq!(rest(&again), rest(envelope));
}

fn stored_says_the_same(spec: &Spec) {
    let text = spec_text(spec);
    let again: Spec = serde_json::from_str(&text).expect("a stored spec is read");
    assert_eq!(spec_text(&again), text);
    let record = Record::new(spec.clone(), Life::queued(), NOW);
    let reply = redis_door::written(&record);
    let again = redis_door::record(reply).expect("a stored record is read");
    assert_eq!(format!("{again:?}"), format!("{record:?}"));
}
