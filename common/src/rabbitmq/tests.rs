//! What can be tested without a broker. The rest is in the conformance suite.

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable},
};

use super::{
    address::Address,
    convert::{given_up, head, outgoing, short},
    facts::{judge_version, property},
    plan::{Step, base, of_queue},
    window::{Identity, Returned, Window},
};
use crate::{
    job::HeaderValue,
    ports::{Confirm, Level},
    wire::{Head, topology::Namespace},
};

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn headers(entries: Vec<(&str, AMQPValue)>) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    BasicProperties::default().with_headers(table)
}

fn died_of(reasons: &[&str]) -> FieldTable {
    let deaths = reasons.iter().map(|reason| {
        let mut death = FieldTable::default();
        death.insert("reason".into(), text(reason));
        AMQPValue::FieldTable(death)
    });
    let mut table = FieldTable::default();
    let deaths = FieldArray::from(deaths.collect::<Vec<_>>());
    table.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    table
}

mod windows {
    use super::*;
    use lapin::{
        Confirmation,
        message::{BasicReturnMessage, Delivery},
    };

    fn window(ids: &[&str]) -> Window {
        let identity = |id: &&str| Identity {
            id: Some((*id).to_owned()),
            exchange: "jobs".to_owned(),
            key: "mail.high".to_owned(),
        };
        Window::new(ids.iter().map(identity).collect())
    }

    fn accepted(window: Window, returned: &Returned) -> Vec<bool> {
        let sound = window.is_whole();
        let confirms = window.judge(sound, returned, "late");
        confirms
            .iter()
            .map(|one| *one == Confirm::Accepted)
            .collect()
    }

    fn lost() -> lapin::Result<Confirmation> {
        Err(lapin::ErrorKind::MissingHeartbeatError.into())
    }

    #[test]
    fn an_ack_counts_also_when_the_channel_breaks_off_later() {
        let (mut window, mut returned) = (window(&["a", "b", "c"]), Returned::default());
        window.note(0, Ok(Confirmation::Ack(None)), &mut returned);
        window.note(1, lost(), &mut returned);
        assert!(!window.is_whole());
        let confirms = window.judge(false, &returned, "late");
        assert_eq!(confirms[0], Confirm::Accepted);
        assert!(matches!(confirms[1], Confirm::Unknown(_)));
        assert_eq!(confirms[2], Confirm::Unknown("late".to_owned()));
    }

    #[test]
    fn a_nack_is_a_refusal_and_leaves_the_channel_good() {
        let (mut window, mut returned) = (window(&["a", "b"]), Returned::default());
        window.note(0, Ok(Confirmation::Nack(None)), &mut returned);
        window.note(1, Ok(Confirmation::Ack(None)), &mut returned);
        assert!(window.is_whole());
        let confirms = window.judge(true, &returned, "late");
        assert!(matches!(confirms[0], Confirm::Refused(_)));
        assert_eq!(confirms[1], Confirm::Accepted);
    }

    #[test]
    fn without_confirms_nothing_is_accepted() {
        let (mut window, mut returned) = (window(&["a"]), Returned::default());
        window.note(0, Ok(Confirmation::NotRequested), &mut returned);
        assert_eq!(accepted(window, &returned), [false]);
    }

    fn no_route(id: &str) -> BasicReturnMessage {
        let mut delivery = Delivery::mock(0, "jobs".into(), "mail.high".into(), false, vec![]);
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        BasicReturnMessage {
            delivery,
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
        }
    }

    #[test]
    fn a_return_counts_against_its_own_message_whoever_carried_it() {
        let (mut window, mut returned) = (window(&["a", "b"]), Returned::default());
        let carried = Ok(Confirmation::Ack(Some(no_route("b"))));
        window.note(0, carried, &mut returned);
        window.note(1, Ok(Confirmation::Ack(None)), &mut returned);
        assert_eq!(accepted(window, &returned), [true, false]);
    }

    #[test]
    fn a_return_counts_also_when_an_answer_to_a_later_window_carried_it() {
        let (mut first, mut later) = (window(&["a"]), window(&["b", "c"]));
        let mut returned = Returned::default();
        let carried = |id| Ok(Confirmation::Ack(Some(no_route(id))));
        later.note(0, carried("a"), &mut returned);
        first.note(0, carried("c"), &mut returned);
        assert_eq!(accepted(first, &returned), [false]);
        returned.keep(std::iter::once(&later));
        later.note(1, Ok(Confirmation::Ack(None)), &mut returned);
        assert_eq!(accepted(later, &returned), [true, false]);
    }

    #[test]
    fn after_an_earlier_window_broke_off_a_whole_one_proves_nothing_once_a_return_was_seen() {
        let (mut later, mut returned) = (window(&["b", "c"]), Returned::default());
        later.note(0, Ok(Confirmation::Ack(Some(no_route("a")))), &mut returned);
        later.note(1, Ok(Confirmation::Ack(None)), &mut returned);
        let confirms = later.judge(false, &returned, "late");
        assert!(
            confirms
                .iter()
                .all(|one| matches!(one, Confirm::Unknown(_)))
        );
    }

    #[test]
    fn after_a_return_an_ack_in_a_window_that_broke_off_proves_nothing() {
        let (mut window, mut returned) = (window(&["a", "b", "c"]), Returned::default());
        let carried = Ok(Confirmation::Ack(Some(no_route("b"))));
        window.note(0, carried, &mut returned);
        window.note(2, lost(), &mut returned);
        assert_eq!(accepted(window, &returned), [false, false, false]);
    }
}

mod conversion {
    use super::*;

    #[test]
    fn scalars_are_carried_on_and_the_brokers_own_headers_are_not() {
        let head = head(&headers(vec![
            ("attempt", AMQPValue::LongUInt(3)),
            ("ratio", AMQPValue::Float(0.5)),
            ("tags", text("a,b")),
            ("guard", AMQPValue::Boolean(true)),
            ("x-death", AMQPValue::FieldArray(FieldArray::default())),
            ("X-Delivery-Count", AMQPValue::LongInt(4)),
        ]));
        assert_eq!(head.headers["attempt"], HeaderValue::Int(3));
        assert_eq!(head.headers["ratio"], HeaderValue::Float(0.5));
        assert_eq!(head.headers["tags"], HeaderValue::Text("a,b".to_owned()));
        assert_eq!(head.headers["guard"], HeaderValue::Bool(true));
        assert_eq!(head.headers.len(), 4);
        assert!(head.refused_headers.is_empty());
    }

    #[test]
    fn what_is_no_scalar_is_refused_by_name() {
        let head = head(&headers(vec![
            ("CC", AMQPValue::FieldArray(FieldArray::default())),
            ("bytes", AMQPValue::LongString(vec![0xFF, 0xFE].into())),
            ("nan", AMQPValue::Double(f64::NAN)),
            ("table", AMQPValue::FieldTable(FieldTable::default())),
            ("when", AMQPValue::Timestamp(1)),
        ]));
        assert_eq!(
            head.refused_headers,
            ["CC", "bytes", "nan", "table", "when"]
        );
        assert!(head.headers.is_empty());
    }

    #[test]
    fn headers_over_the_limits_are_refused_without_limit_to_their_number() {
        let names: Vec<String> = (0..300).map(|n| format!("h{n:03}")).collect();
        let many = names
            .iter()
            .map(|name| (name.as_str(), text("v")))
            .collect();
        let head_of_many = head(&headers(many));
        assert_eq!(head_of_many.headers.len(), 64);
        assert_eq!(head_of_many.refused_headers.len(), 64);

        let (long, large) = ("n".repeat(129), "v".repeat(16 * 1024 + 1));
        let head = head(&headers(vec![(&long, text("v")), ("z", text(&large))]));
        assert_eq!(head.refused_headers, ["n".repeat(128), "z".to_owned()]);
    }

    #[test]
    fn a_message_keeps_its_head_on_the_way() {
        let mut sent = Head {
            kind: Some("email.send".to_owned()),
            message_id: Some("m1".to_owned()),
            reply_to: Some("answers".to_owned()),
            ..Head::default()
        };
        let put = HeaderValue::Text("grüße".to_owned());
        sent.headers.insert("note".to_owned(), put);
        sent.headers
            .insert("attempt".to_owned(), HeaderValue::Int(2));
        let properties = outgoing(&sent).unwrap();
        assert_eq!(properties.delivery_mode(), &Some(2), "on disk");
        assert_eq!(head(&properties), sent);
    }

    #[test]
    fn what_amqp_cannot_carry_is_refused_and_does_not_panic() {
        assert!(short("routing key", &"k".repeat(256)).is_err());
        let mut sent = Head {
            reply_to: Some("q".repeat(256)),
            ..Head::default()
        };
        assert!(outgoing(&sent).unwrap_err().contains("reply_to"));
        sent.reply_to = None;
        let large = HeaderValue::Text("v".repeat(100_000));
        sent.headers.insert("large".to_owned(), large);
        assert!(outgoing(&sent).is_err());
    }

    #[test]
    fn the_newest_death_tells_why_the_broker_gave_up() {
        let limit = died_of(&["delivery_limit", "expired"]);
        assert!(
            given_up("limit.mail.low", Some(&limit))
                .unwrap()
                .starts_with("delivery limit")
        );
        let waited = died_of(&["expired"]);
        assert_eq!(
            given_up("0.1.mail.low", Some(&waited)),
            None,
            "merely unrouted"
        );
        assert_eq!(given_up("mail.low", None), None);
        let other = died_of(&["rejected"]);
        assert!(
            given_up("limit.mail.low", Some(&other))
                .unwrap()
                .contains("rejected")
        );
    }
}

mod addresses {
    use super::*;

    #[test]
    fn a_password_never_shows() {
        let address = Address::parse("amqps://me:s3cret@mq.example:5671/prod").unwrap();
        assert_eq!(
            format!("{address} {address:?}").matches("s3cret").count(),
            0
        );
        assert_eq!(address.to_string(), "amqps://mq.example:5671/prod");
        for wrong in [
            "amqp://me:s3cret@host:port/",
            "http://me:s3cret@host/",
            "s3cret",
        ] {
            let error = Address::parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn defaults_are_ours() {
        let address = Address::parse("amqp://127.0.0.1/").unwrap();
        assert_eq!(address.uris()[0].query.heartbeat, Some(10));
        assert_eq!(address.uris()[0].vhost, "/");
        assert!(address.is_loopback() && address.is_guest() && !address.is_encrypted());
        let address = Address::parse("amqp://me:x@a:1,b/v").unwrap();
        assert_eq!(address.to_string(), "amqp://a:1,b:5672/v");
        let address = Address::parse("amqp://[::1]:5673/%2f?heartbeat=3").unwrap();
        assert_eq!(address.host_and_port(), ("::1", 5673));
        assert_eq!(address.uris()[0].query.heartbeat, Some(3));
    }
}

#[test]
fn the_jobs_exchange_is_declared_last() {
    let steps = base(&Namespace::standard());
    assert!(matches!(steps.last(), Some(Step::Exchange { name, .. }) if name == "haul.jobs"));
    let queues = steps
        .iter()
        .filter(|step| matches!(step, Step::Queue { .. }));
    assert_eq!(queues.count(), 30, "29 delays and the unrouted");
}

#[test]
fn a_queue_has_four_lanes_and_its_dead() {
    let mail = "mail".parse().unwrap();
    let steps = of_queue(&Namespace::standard(), &mail);
    let queues = steps
        .iter()
        .filter(|step| matches!(step, Step::Queue { .. }));
    assert_eq!(queues.count(), 5);
    let keys: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Bind { exchange, key, .. } if exchange == "haul.jobs" => Some(key.as_str()),
            _ => None,
        })
        .collect();
    let wanted = [
        "mail.critical",
        "mail.high",
        "mail.normal",
        "mail",
        "mail.low",
    ];
    assert_eq!(keys, wanted);
}

#[test]
fn a_server_tells_its_version() {
    let greeting = b"\x01..\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8..";
    assert_eq!(property(greeting, "product").as_deref(), Some("RabbitMQ"));
    assert_eq!(property(greeting, "version").as_deref(), Some("3.10.8"));
    assert_eq!(property(b"\x07versionS\xFF\xFF\xFF\xFFx", "version"), None);
    assert_eq!(judge_version("RabbitMQ", "4.3.6").level, Level::Fine);
    assert_eq!(judge_version("RabbitMQ", "3.9.29").level, Level::Warning);
    assert_eq!(judge_version("Other", "9.0").level, Level::Warning);
}
