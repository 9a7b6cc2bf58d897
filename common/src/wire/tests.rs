use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use proptest::{option, prelude::*};

use super::{Head, Malformed, Message, decode, encode, header as h};
use crate::{
    job::{BODY_BYTES_MAX, Backoff, Envelope, Fence, HeaderValue, Lane, QueueName, Spec, json},
    time::Timestamp,
};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub(super) fn mail() -> QueueName {
    "mail".parse().unwrap()
}

fn read(message: &Message) -> Result<Envelope, Malformed> {
    decode(message, (&mail(), Lane::High), NOW)
}

pub(super) fn plain() -> Message {
    let spec = Spec::new("email.send".parse().unwrap(), mail(), json(&()).unwrap());
    encode(&Envelope::first(spec, None))
}

/// A whole envelope as text, for comparing.
fn show(envelope: &Envelope) -> String {
    let spec = serde_json::to_string(&envelope.spec).unwrap();
    let (attempt, due, guard) = (envelope.attempt, envelope.due, envelope.guard);
    format!("{spec} {attempt} {due:?} {guard}")
}

// ---- what comes out is what went in

fn header_value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i64>().prop_map(HeaderValue::Int),
        (-1e9..1e9).prop_map(HeaderValue::Float),
        ".{0,40}".prop_map(HeaderValue::Text),
    ]
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (0i64..250_000_000_000_000).prop_map(Timestamp::from_millis)
}

fn backoff() -> impl Strategy<Value = Backoff> {
    prop_oneof![
        Just(Backoff::none()),
        (0u64..9_999_999).prop_map(|ms| Backoff::fixed(Duration::from_millis(ms)).unwrap()),
        (1.0f64..9.0).prop_map(|factor| {
            Backoff::exponential(Duration::from_secs(1), factor, Duration::from_secs(60)).unwrap()
        }),
    ]
}

prop_compose! {
    fn names()(
        id in "[A-Za-z0-9_.-]{1,64}", task in "[a-z0-9._-]{1,128}",
        batch in option::of("[A-Za-z0-9_.-]{1,64}"), reply in option::of(".{0,60}"),
        tags in prop::collection::vec("[!#-+\\--~]{1,64}", 0..32),
        headers in prop::collection::btree_map("[a-z]{1,12}_z", header_value(), 0..8),
    ) -> Spec {
        let mut spec = Spec::new(task.parse().unwrap(), mail(), json(&()).unwrap());
        spec.id = id.parse().unwrap();
        spec.batch = batch.map(|text| text.parse().unwrap());
        spec.reply_to = reply;
        spec.tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        spec.headers = headers;
        spec
    }
}

prop_compose! {
    pub(super) fn envelope()(
        mut spec in names(), body in prop::collection::btree_map(".{0,20}", ".{0,40}", 0..6),
        max_attempts in 1u32..=1000, backoff in backoff(),
        timeout in option::of(1u64..i64::MAX as u64), deadline in option::of(instant()),
        retention in option::of(0u64..1_000_000_000), attempt in 1u32..=1000,
        due in option::of(instant()), guard: bool, fence in 0u64..1 << 52, redrive: bool,
    ) -> Envelope {
        spec.lane = Lane::High;
        spec.args = json(&body).unwrap();
        spec.max_attempts = max_attempts;
        spec.backoff = backoff;
        spec.timeout = timeout.map(Duration::from_millis);
        spec.deadline = deadline;
        spec.retention = retention.map(Duration::from_secs);
        Envelope { spec, attempt, due, guard, fence: Fence(fence), redrive }
    }
}

// ---- anything at all

pub(super) fn anything() -> impl Strategy<Value = Message> {
    let known = prop::sample::select(super::decode::KNOWN.to_vec()).prop_map(str::to_owned);
    let name = prop_oneof![known, ".{0,20}".prop_map(|text| text)];
    let value = prop_oneof![
        header_value(),
        any::<f64>().prop_map(HeaderValue::Float),
        "[0-9]{0,25}".prop_map(HeaderValue::Text),
    ];
    let text = || option::of(prop_oneof!["[a-z0-9]{1,9}", ".{0,200}"]);
    let head = (
        (text(), text(), text(), text(), text()),
        prop::collection::btree_map(name, value, 0..12),
    );
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\":,0-9tfn\\\\ ]{0,200}".prop_map(String::into_bytes),
        Just(b"{}".to_vec()),
    ];
    (head, body).prop_map(|((words, headers), body)| Message {
        head: Head {
            kind: words.0,
            message_id: words.1,
            correlation_id: words.2,
            reply_to: words.3,
            content_type: words.4,
            headers,
            refused_headers: Vec::new(),
        },
        body: Bytes::from(body),
    })
}

proptest! {
    #[test]
    fn a_job_comes_out_of_its_message_as_it_went_in(envelope in envelope()) {
        let back = read(&encode(&envelope)).unwrap();
        prop_assert_eq!(show(&back), show(&envelope));
    }

    #[test]
    fn no_message_at_all_makes_decoding_panic(message in anything()) {
        match read(&message) {
            Ok(envelope) => prop_assert!(envelope.spec.validate().is_ok()),
            Err(malformed) => prop_assert!(!malformed.field.is_empty()),
        }
        let spec = super::salvage(&message, (&mail(), Lane::Low));
        prop_assert_eq!(spec.lane, Lane::Low);
    }

    #[test]
    fn what_was_decoded_once_is_the_same_ever_after(message in anything()) {
        if let Ok(envelope) = read(&message) {
            let again = read(&encode(&envelope)).unwrap();
            prop_assert_eq!(show(&again), show(&envelope));
        }
    }
}

// ---- each wrong thing is named

fn field_of(change: impl FnOnce(&mut Message)) -> String {
    let mut message = plain();
    change(&mut message);
    let malformed = read(&message).unwrap_err();
    assert!(malformed.why.chars().count() <= 300, "{}", malformed.why);
    malformed.field
}

fn field_of_header(name: &str, value: HeaderValue) -> String {
    field_of(|message| {
        message.head.headers.insert(name.to_owned(), value);
    })
}

#[test]
fn a_wrong_body_is_named() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let bodies: [Vec<u8>; 8] = [
        deep.into_bytes(),
        objects.into_bytes(),
        vec![b'1'; 10_000_000],
        [b"\"", vec![b'x'; BODY_BYTES_MAX].as_slice(), b"\""].concat(),
        b"\"\xff\xfe\"".to_vec(),
        b"".to_vec(),
        b"{} {}".to_vec(),
        b"{\"a\":}".to_vec(),
    ];
    for body in bodies {
        let start = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        let field = field_of(|message| message.body = Bytes::from(body));
        assert_eq!(field, "body", "{start}");
    }
}

#[test]
fn a_wrong_property_is_named() {
    assert_eq!(field_of(|m| m.head.kind = None), "type");
    assert_eq!(
        field_of(|m| m.head.kind = Some("Email Send".into())),
        "type"
    );
    assert_eq!(field_of(|m| m.head.message_id = None), "message_id");
    let long = "x".repeat(100_000);
    assert_eq!(
        field_of(|m| m.head.message_id = Some(long.clone())),
        "message_id"
    );
    assert_eq!(
        field_of(|m| m.head.correlation_id = Some("a b".into())),
        "correlation_id"
    );
    assert_eq!(
        field_of(|m| m.head.refused_headers.push("table".into())),
        "headers"
    );
}

#[test]
fn a_wrong_header_is_named() {
    let text = |text: &str| HeaderValue::Text(text.to_owned());
    let wrong = [
        (h::RUN_AT, text("tomorrow")),
        (h::RUN_AT, HeaderValue::Int(5)),
        (h::DEADLINE, text("")),
        (h::DELAY_MS, HeaderValue::Int(-1)),
        (h::DELAY_MS, HeaderValue::Float(1.5)),
        (h::DELAY_MS, HeaderValue::Float(-3.0)),
        (h::DELAY_MS, HeaderValue::Float(1e300)),
        (h::MAX_ATTEMPTS, HeaderValue::Int(i64::MAX)),
        (h::MAX_ATTEMPTS, text("many")),
        (h::TIMEOUT_MS, HeaderValue::Bool(true)),
        (h::BACKOFF, text("random(1s)")),
        (h::BACKOFF, HeaderValue::Int(1)),
        (h::RETENTION_S, HeaderValue::Int(i64::MIN)),
        (h::TAGS, text("two words")),
        (h::ATTEMPT, HeaderValue::Int(0)),
        (h::ATTEMPT, HeaderValue::Int(i64::MAX)),
    ];
    for (name, value) in wrong {
        let said = format!("{value:?}");
        assert_eq!(field_of_header(name, value), name, "{said}");
    }
}

#[test]
fn limits_of_a_job_hold_for_foreign_messages_too() {
    assert_eq!(field_of_header(h::MAX_ATTEMPTS, HeaderValue::Int(0)), "job");
    assert_eq!(field_of_header(h::TIMEOUT_MS, HeaderValue::Int(0)), "job");
    let tags: Vec<String> = (0..33).map(|n| n.to_string()).collect();
    let tags = HeaderValue::Text(tags.join(","));
    assert_eq!(field_of_header(h::TAGS, tags), "job");
}

#[test]
fn numbers_may_be_written_as_text_or_floats_and_lists_with_blanks() {
    let mut message = plain();
    let put = |headers: &mut BTreeMap<_, _>, name: &str, text: &str| {
        headers.insert(name.to_owned(), HeaderValue::Text(text.to_owned()));
    };
    put(&mut message.head.headers, h::MAX_ATTEMPTS, "7");
    put(&mut message.head.headers, h::TAGS, " a, ,b ");
    let number = HeaderValue::Float(60.0);
    message
        .head
        .headers
        .insert(h::RETENTION_S.to_owned(), number);
    let spec = read(&message).unwrap().spec;
    assert_eq!(spec.max_attempts, 7);
    assert_eq!(spec.retention, Some(Duration::from_secs(60)));
    assert_eq!(spec.tags, ["a", "b"].map(|tag| tag.parse().unwrap()));
}

#[test]
fn the_longest_delay_does_not_wrap() {
    let mut message = plain();
    let delay = HeaderValue::Int(i64::MAX);
    message.head.headers.insert(h::DELAY_MS.to_owned(), delay);
    assert!(read(&message).unwrap().due.unwrap() > NOW);
}

#[test]
fn brackets_nest_as_deep_as_serde_json_reads_them_and_in_text_are_no_depth() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    let text = format!("[\"{}\\\"[\"]", "[{".repeat(500));
    let flat = format!("[{}1]", "[],".repeat(500));
    for (body, fine) in [
        (text, true),
        (flat, true),
        (nested(127), true),
        (nested(129), false),
    ] {
        let mut message = plain();
        message.body = Bytes::from(body);
        assert_eq!(read(&message).is_ok(), fine, "{message:?}");
    }
}

// ---- edits

#[test]
fn what_a_job_was_before_its_edits_travels_with_it() {
    let spec = Spec::new("email.send".parse().unwrap(), mail(), json(&()).unwrap());
    let edited = spec.edited(json(&1).unwrap()).unwrap();
    let twice = edited.edited(json(&2).unwrap()).unwrap();
    let message = encode(&Envelope::first(twice.clone(), None));
    let came = read(&message).unwrap().spec;
    assert_eq!(came.earlier, [spec.digest(), edited.digest()]);
    assert!(came.was(spec.digest()) && !came.was(twice.digest()));
    let back = twice.edited(json(&()).unwrap()).unwrap();
    assert_eq!(back.earlier, [edited.digest(), twice.digest()]);
    let mut wrong = message;
    let header = HeaderValue::Text("no digest".to_owned());
    wrong.head.headers.insert(h::EARLIER.to_owned(), header);
    assert_eq!(read(&wrong).unwrap_err().field, h::EARLIER);
}
