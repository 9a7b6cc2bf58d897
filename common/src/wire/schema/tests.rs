use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    Message, decode, encode, header as h,
    tests::{NOW, anything, envelope, mail, plain},
};
use crate::job::{BODY_BYTES_MAX, HeaderValue, Lane, MAX_ATTEMPTS_MAX, Reason};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&super::job()).unwrap();
    let options = jsonschema::draft202012::options();
    options
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
});

/// A message as the schema sees it; nothing when its body is no JSON, or longer or deeper than a
/// schema can say.
fn instance(message: &Message) -> Option<Value> {
    let fits = message.body.len() <= BODY_BYTES_MAX;
    let body: Value = serde_json::from_slice(&message.body)
        .ok()
        .filter(|_| fits)?;
    let mut instance = serde_json::to_value(&message.head).ok()?;
    instance["body"] = body;
    Some(instance)
}

fn accepts(message: &Message) -> bool {
    instance(message).is_some_and(|instance| SCHEMA.is_valid(&instance))
}

/// A job whose worker has given it an id, if it came without.
fn is_job(message: &Message) -> bool {
    let mut message = message.clone();
    message
        .head
        .message_id
        .get_or_insert_with(|| "given".to_owned());
    decode(&message, (&mail(), Lane::High), NOW).is_ok()
}

/// Values that are right, nearly right, and wrong.
fn value() -> impl Strategy<Value = HeaderValue> {
    let text = |pattern: &'static str| pattern.prop_map(HeaderValue::Text);
    prop_oneof![
        prop::sample::select(vec![-1, 0, 1, 1000, 1001, 1 << 52, (1 << 52) + 1, i64::MAX])
            .prop_map(HeaderValue::Int),
        prop::sample::select(vec![-0.0, 0.0, 3.0, 1.5, 1e15, 1e19, 1e300, -2.0])
            .prop_map(HeaderValue::Float),
        any::<bool>().prop_map(HeaderValue::Bool),
        text("\\+?[01]{0,5}"),
        text("[0-9]{12,22}"),
        text("[012][0-9]{3}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](Z|\\+01:00)"),
        text("2027-(02|04|06)-(28|29|30|31)T10:00:(00|59|60)(\\.[0-9]{0,10})?(Z|-[0-2][0-9]:59)"),
        text("(none|fixed|list|exponential)(\\((1s|2m3s|3s2m|5ms|,|){1,4}\\))?"),
        text("( |,|[a-z]{1,3}|[!-~]){0,9}"),
    ]
}

fn nearly_right() -> impl Strategy<Value = Message> {
    let name = prop::sample::select(super::super::decode::KNOWN.to_vec());
    let headers = prop::collection::btree_map(name.prop_map(str::to_owned), value(), 0..4);
    let short = |pattern: &'static str| prop::option::weighted(0.9, pattern);
    let words = (
        short("[a-z.]{1,9}"),
        short("[a-zA-Z0-9_.-]{1,9}"),
        short("[a-z]{1,3} ?"),
    );
    (headers, words, "(1|2|3|\\[\\]|\\{)").prop_map(|(headers, words, body)| {
        let mut message = plain();
        message.head.headers = headers;
        (
            message.head.kind,
            message.head.message_id,
            message.head.correlation_id,
        ) = words;
        message.body = Bytes::from(body);
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_the_schema_takes_is_a_job(message in prop_oneof![anything(), nearly_right()]) {
        prop_assert!(!accepts(&message) || is_job(&message), "{message:?}");
    }

    #[test]
    fn what_haul_publishes_is_what_the_schema_takes(mut envelope in envelope()) {
        envelope.spec.timeout = envelope.spec.timeout.filter(|limit| limit.as_millis() < 1 << 53);
        envelope.spec.reply_to = envelope.spec.reply_to.filter(|queue| queue.chars().count() < 256);
        let message = encode(&envelope);
        let instance = instance(&message).unwrap();
        let errors: Vec<_> = SCHEMA.iter_errors(&instance).map(|e| e.to_string()).collect();
        prop_assert!(errors.is_empty(), "{errors:?} in {message:?}");
    }
}

/// The few that only their descriptions tell: the schema takes them, and they are no jobs.
#[test]
fn what_a_schema_cannot_say_is_what_its_descriptions_say() {
    let with = |name: &str, text: &str| {
        let mut message = plain();
        let value = HeaderValue::Text(text.to_owned());
        message.head.headers.insert(name.to_owned(), value);
        message
    };
    for backoff in [
        "exponential(1h,2,1s)",
        "exponential(1s,101,1h)",
        "exponential(1s,0,1h)",
        "fixed(9000h)",
    ] {
        let message = with(h::BACKOFF, backoff);
        assert!(accepts(&message) && !is_job(&message), "{backoff}");
    }
    let deep = Bytes::from("[".repeat(129) + &"]".repeat(129));
    assert!(!is_job(&Message {
        body: deep,
        ..plain()
    }));
    let text = super::job();
    assert!(text.contains(&format!(
        "At most {BODY_BYTES_MAX} bytes, nested at most 128 deep"
    )));
}

#[test]
fn limits_in_the_schema_are_those_of_the_code() {
    let most = |value: HeaderValue| {
        let mut message = plain();
        message.head.headers = BTreeMap::from([(h::MAX_ATTEMPTS.to_owned(), value)]);
        (accepts(&message), is_job(&message))
    };
    let limit = i64::from(MAX_ATTEMPTS_MAX);
    assert_eq!(most(HeaderValue::Int(limit)), (true, true));
    assert_eq!(most(HeaderValue::Int(limit + 1)), (false, false));
    assert_eq!(most(HeaderValue::Text("1000".into())), (true, true));
    assert_eq!(most(HeaderValue::Text("1001".into())), (false, false));
}

#[test]
fn asyncapi_names_what_the_fleet_has() {
    let namespace = super::Namespace::new("mine").unwrap();
    let text = super::asyncapi(&namespace);
    let api: Value = serde_json::from_str(&text).unwrap();
    let exchange = &api["channels"]["jobs"]["bindings"]["amqp"]["exchange"]["name"];
    assert_eq!(*exchange, namespace.jobs());
    let dead = namespace.dead_queue(&mail()).replace("mail", "{queue}");
    assert_eq!(api["channels"]["dead"]["address"], dead);
    let lanes = &api["channels"]["jobs"]["parameters"]["lane"]["enum"];
    assert_eq!(*lanes, json!(Lane::ALL));
    let letter = &api["components"]["messages"]["deadLetter"]["headers"];
    assert_eq!(letter["properties"]["reason"]["enum"], json!(Reason::ALL));
    for marker in ["NAMESPACE", "SCHEMAS", "REASONS", "#/schemas"] {
        assert!(!text.contains(marker), "{marker}");
    }
}
