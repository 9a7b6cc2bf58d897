//! What built-in tasks read: requests and the answers to them, programs and what they say.

use std::time::{Duration, SystemTime};

use haul_common::{job::Script, time::Timestamp};
use haul_worker::tasks::{
    http::{
        Expect, HttpRequest,
        door::{self, Follows},
    },
    shell::{self, ScriptRun, ShellRun},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{Target, Verdict, refused, text};

/// The longest that a receiver may put us off.
const DAY: Duration = Duration::from_secs(24 * 3600);
const REQUESTS: &[&str] = &[
    r#"{"url":"https://one.example/a?b#c","headers":{"x-key":"1"},"json":{"n":1},"expect":201}"#,
    r#"{"url":"http://[::1]:80/","method":"put","body":"é","expect":[200,404],"timeout_ms":1}"#,
    r#"{"url":"https://me:pw@one.example/","method":"CONNECT","patience_ms":0}"#,
    r#"{"url":"ftp://one.example","headers":{"host":"x","haul-job":"1","content-length":"0"}}"#,
];
/// A status, then headers.
const ANSWERS: &[&str] = &[
    "429\nretry-after: 120",
    "503\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT",
    "202\nhaul-poll: true\nlocation: /jobs/1\nretry-after: 0",
    "202\nhaul-poll: https://two.example/#top",
    "500\nhaul-stop: true",
    "302\nlocation: http://10.0.0.1/",
    "200",
];
const HOSTS: &[&str] = &[
    "loopback",
    "*.inner.example",
    "10.1.0.0/16",
    "fd00::/8",
    "::ffff:10.0.0.1/120",
    "one.example.",
];
const PROGRAMS: &[&str] = &[
    r#"{"command":["gzip","-k"],"env":{"A":"b"},"cwd":"/tmp","limits":{"memory_bytes":1024}}"#,
    r#"{"script":"make test","stdin":"x","keep_output":true}"#,
    r#"{"name":"thumbs","args":["1"],"limits":{"cpu_s":1,"open_files":9,"output_bytes":1}}"#,
    "::progress 3/10 half way\r\nother\n::result {\"a\":[1,2]}",
    "::result {oops}",
];
const SCRIPTS: &[&str] = &[
    "#!/usr/bin/env python3\nprint(1)\n",
    "#! /bin/sh -e \necho",
    "echo",
    "#!\n",
];

pub(super) fn targets() -> Vec<Target> {
    let target = Target::of_text;
    vec![
        target(
            "http-request",
            25_000,
            REQUESTS,
            &[
                "\"",
                ":",
                "{",
                "}",
                "://",
                "@",
                "/",
                "\\r\\n",
                "null",
                "[::1]",
                "\"headers\":",
            ],
            request,
        ),
        target(
            "http-answer",
            25_000,
            ANSWERS,
            &[
                "\n",
                ": ",
                "retry-after: ",
                "haul-poll: ",
                "location: ",
                "//",
                "?",
                "..",
                "GMT",
            ],
            answer,
        ),
        target("host", 5000, HOSTS, &[".", ":", "/", "*", "::", "%1"], host),
        target(
            "program",
            15_000,
            PROGRAMS,
            &[
                "::progress ",
                "::result ",
                "/",
                "\n",
                "{",
                "\"",
                "\"limits\":",
                "null",
            ],
            program,
        ),
        target(
            "script",
            5000,
            SCRIPTS,
            &["#!", "/", " ", "\n", "\t", "\r"],
            script,
        ),
    ]
}

/// Whether it is such arguments; then they are the same once written down.
fn arguments<T: DeserializeOwned + Serialize>(input: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(input).ok()?;
    let text = serde_json::to_string(&read).expect("what was read can be kept");
    let again: T = serde_json::from_str(&text).expect("what was kept is read");
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    Some(read)
}

fn can_be_called(url: &Url) {
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert!(
        url.username().is_empty() && url.password().is_none(),
        "{url}"
    );
    assert!(url.fragment().is_none() && url.has_host(), "{url}");
}

fn request(input: &[u8]) -> Verdict {
    let Some(args) = arguments::<HttpRequest>(input) else {
        return Verdict::Refused;
    };
    match door::request(&args) {
        Ok((url, headers)) => {
            can_be_called(&url);
            let ours = |name: &HeaderName| {
                let framing = ["host", "content-length", "transfer-encoding", "connection"];
                framing.contains(&name.as_str()) || name.as_str().starts_with("haul-")
            };
            assert!(!headers.keys().any(ours), "{headers:?}");
            Verdict::Accepted
        }
        Err(why) => refused(&why),
    }
}

fn answer(input: &[u8]) -> Verdict {
    let mut lines = input.split(|byte| *byte == b'\n');
    let code = lines.next().unwrap_or_default();
    let Ok(status) = StatusCode::from_bytes(code) else {
        return Verdict::Refused;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (name, value) = line.split_at(at);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    let url = "https://one.example/a/b?c".parse().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    match door::answer(&Expect::Any, &url, status, &headers, now) {
        Follows::Done => Verdict::Accepted,
        Follows::Again(wait, at) => {
            let costs_nothing = matches!(status.as_u16(), 202 | 429 | 503);
            let least = Duration::from_secs(u64::from(costs_nothing));
            assert!(
                wait.is_none_or(|wait| (least..=DAY).contains(&wait)),
                "{wait:?}"
            );
            at.iter().for_each(can_be_called);
            Verdict::Accepted
        }
        Follows::Stop(why) => refused(&why),
    }
}

fn host(input: &[u8]) -> Verdict {
    // Whoever starts a worker writes it: a reason may repeat all of it.
    match door::host(&text(input)) {
        Ok(_) => Verdict::Accepted,
        Err(_) => Verdict::Refused,
    }
}

fn program(input: &[u8]) -> Verdict {
    let run = arguments::<ShellRun>(input).is_some();
    let stored = arguments::<ScriptRun>(input).is_some();
    match shell::door::said(&text(input)) {
        Ok((heard, result)) => {
            assert!(heard > 0 || result.is_none());
            match run || stored || heard > 0 {
                true => Verdict::Accepted,
                false => Verdict::Refused,
            }
        }
        Err(why) => refused(&why),
    }
}

fn script(input: &[u8]) -> Verdict {
    let text = text(input).into_owned();
    match Script::new("x".parse().unwrap(), text, Timestamp::default()) {
        Ok(script) => {
            let (interpreter, argument) = script.interpreter();
            assert!(interpreter.starts_with('/') && !interpreter.contains('\n'));
            assert!(argument.is_none_or(|argument| !argument.contains('\n')));
            assert_eq!(script.version.to_string().parse(), Ok(script.version));
            Verdict::Accepted
        }
        Err(error) => refused(&error),
    }
}
