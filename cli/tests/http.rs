//! `http.request` jobs, from outside: what a worker is told on its command line and in its file.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use common::{Place, Ran};
use serde_json::json;

const KEY: &str = "a secret that nobody prints";

/// Answers every request with these bytes, and keeps the heads.
struct Receiver {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = heads.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let lines = stream.by_ref().lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                kept.lock().unwrap().push(head.join("\n").to_lowercase());
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { url, heads }
    }

    fn head(&self) -> String {
        self.heads
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap_or_default()
    }

    /// A job that calls it; what `haul job push --wait` says.
    fn called(&self, place: &Place) -> Ran {
        let args = json!({"url": self.url}).to_string();
        place.haul(&[
            "job",
            "push",
            "http.request",
            "--args",
            &args,
            "--wait",
            "20s",
        ])
    }
}

#[test]
fn an_embedded_worker_calls_this_machine_and_shows_what_came_back() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let receiver =
        Receiver::start("HTTP/1.1 200 OK\r\nx-node: 7\r\nconnection: close\r\n\r\nhello");
    let args = json!({"url": receiver.url}).to_string();
    let id = place.ok(&["job", "push", "http.request", "--args", &args]);
    let result = place.json(&["job", "wait", &id, "--timeout", "20s"]);
    assert_eq!(
        (&result["status"], &result["body"]),
        (&json!(200), &json!("hello"))
    );
    assert!(
        receiver.head().starts_with("get /hook http/1.1"),
        "{}",
        receiver.head()
    );
    assert!(!receiver.head().contains("haul-signature"));
    let shown = place.ok(&["job", "show", &id]);
    for part in ["→ 200 OK after ", "    |   x-node: 7"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_refusal_is_told_with_its_status_and_its_words() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let answer =
        "HTTP/1.1 422 Unprocessable Entity\r\nconnection: close\r\n\r\nno such\ncustomer\n";
    let ran = Receiver::start(answer).called(&place);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let why = "422 Unprocessable Entity: no such customer (no retry can help)";
    assert!(ran.stderr.contains(why), "{ran:?}");
}

#[test]
fn keys_and_hosts_come_from_the_file_and_flags_are_stronger() {
    let place = Place::new();
    let receiver = Receiver::start("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    place.write("one.key", KEY);
    place.write("two.key", "another secret for a while\n");
    place.write(
        "haul.toml",
        "[http]\nallow = []\nsign_key_files = ['one.key', 'two.key']\n",
    );
    {
        let _worker = place.worker(&[]);
        let ran = receiver.called(&place);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains("a loopback address"), "{ran:?}");
    }
    let _worker = place.worker(&["--http-allow", "127.0.0.0/8"]);
    assert_eq!(receiver.called(&place).code, Some(0));
    assert_eq!(
        receiver.head().matches("v1=").count(),
        2,
        "{}",
        receiver.head()
    );
}

#[test]
fn a_key_from_the_environment_signs_and_is_never_printed() {
    let place = Place::new();
    let receiver = Receiver::start("HTTP/1.1 503 Busy\r\nconnection: close\r\n\r\n");
    let log = std::fs::File::create(place.path("worker.log")).unwrap();
    let mut worker = place.command(&["worker", "--log", "trace"]);
    worker.env("HAUL_HTTP_SIGN_KEY", KEY.replace(' ', "-"));
    let mut worker = worker.stderr(log).spawn().unwrap();
    let args = json!({"url": receiver.url, "patience_ms": 0}).to_string();
    let ran = place.haul(&[
        "job",
        "push",
        "http.request",
        "--attempts",
        "1",
        "--wait",
        "20s",
        "--args",
        &args,
    ]);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(
        receiver.head().matches("v1=").count(),
        1,
        "{}",
        receiver.head()
    );
    let said = place.read("worker.log") + &format!("{ran:?}");
    assert!(said.contains("503") && !said.contains("a-secret"), "{said}");
}

#[test]
fn a_wrong_setting_ends_the_worker_with_2_before_it_takes_a_job() {
    let place = Place::new();
    place.write("short.key", "hush-hush");
    for (file, flags, why) in [
        (
            "",
            &["--http-allow", "http://x"][..],
            "`http://x` is no host to allow",
        ),
        (
            "",
            &["--http-sign-key-file", "none.key"],
            "--http-sign-key-file: none.key cannot be read",
        ),
        (
            "",
            &["--http-sign-key-file", "short.key"],
            "9 bytes, it must have 16",
        ),
        ("", &["--http-cert-file", "x.pem"], "--http-key-file"),
        ("", &["--http-ca-file", "x.pem"], "x.pem cannot be read"),
        (
            "cert_file = 'x.pem'",
            &[],
            "[http]: cert_file and key_file belong together",
        ),
        (
            "sign_key_files = ['no.key']",
            &[],
            "[http] sign_key_files: no.key cannot be read",
        ),
        ("\nalow = []", &[], "line 3"),
    ] {
        place.write("haul.toml", &format!("[http]\n{file}\n"));
        let ran = place.haul(&[&["worker"], flags].concat());
        assert_eq!(ran.code, Some(2), "{flags:?} {file}: {ran:?}");
        assert!(
            ran.stderr.contains(why) && !ran.stderr.contains("hush"),
            "{why}: {ran:?}"
        );
    }
}
