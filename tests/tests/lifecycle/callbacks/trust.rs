//! Whom a worker calls, and whom it believes.

use haul_common::job::Reason;
use haul_tests::{
    authority::Authority,
    fleet::{Fleet, reason},
    receiver::Receiver,
};
use haul_worker::Http;
use serde_json::json;

use super::{call, local, ok, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_of_the_worker_only_public_addresses_are_called() {
    let fleet = Fleet::embedded().await;
    let _worker = worker(&fleet, Http::default()).await;
    let receiver = Receiver::start([ok()]).await;
    let port = receiver.url("").rsplit(':').next().unwrap().to_owned();
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let args = json!({"url": format!("http://{host}:{port}/")});
        let job = call(&fleet, args).await.unwrap();
        let record = fleet.ended(job.id()).await;
        assert_eq!(reason(&record), Reason::Fatal, "{host}");
        let error = record.life.error.unwrap();
        assert!(
            error.contains("a loopback address") && error.contains("--http-allow"),
            "{error}"
        );
    }
    assert!(receiver.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_both_sides_know_each_other() {
    let authority = Authority::new("the authority of this test");
    let ours = authority.sign("client", &["worker"]);
    let receiver = Receiver::tls(&authority.sign("server", &["localhost"]), [ok()]).await;
    let file = |name: &str| ours.join(name).display().to_string();
    let base = || Http::default().allow("loopback");
    let knows = || base().authorities(&file("ca.pem"));
    for (http, why) in [
        (
            base(),
            "UnknownIssuer; if its authority is your own, name it with --http-ca-file",
        ),
        (knows(), "give a certificate with --http-cert-file"),
        (knows().identity(&file("cert.pem"), &file("key.pem")), ""),
    ] {
        let fleet = Fleet::embedded().await;
        let _worker = worker(&fleet, http).await;
        let args = json!({"url": receiver.url("/")});
        let job = call(&fleet, args).attempts(1).await.unwrap();
        let record = fleet.ended(job.id()).await;
        match record.life.error {
            Some(error) => assert!(!why.is_empty() && error.contains(why), "{error}"),
            None => assert_eq!(why, ""),
        }
    }
    assert_eq!(receiver.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_setting_is_told_at_the_start_and_a_wrong_argument_at_once() {
    let fleet = Fleet::embedded().await;
    let start = async |http: Http| {
        let worker = haul_worker::Worker::connect(fleet.urls()).await.unwrap();
        worker.http(http).start().await.unwrap_err().to_string()
    };
    let three = Http::default()
        .sign_with(&[b'a'; 16])
        .sign_with(&[b'b'; 16])
        .sign_with(&[b'c'; 16]);
    for (http, why) in [
        (Http::default().allow("a b"), "`a b` is no host to allow"),
        (Http::default().sign_with(b"short"), "openssl rand"),
        (three, "2 keys sign at most"),
        (
            Http::default().authorities("/nowhere.pem"),
            "/nowhere.pem cannot be read",
        ),
    ] {
        let said = start(http).await;
        assert!(
            said.contains("http.request: ") && said.contains(why),
            "{said}"
        );
    }
    let _worker = local(&fleet).await;
    for (args, why) in [
        (json!({"url": "nowhere"}), "`url`: not a URL"),
        (json!({"url": "ftp://a/"}), "it must be http or https"),
        (
            json!({"url": "http://me:pw@a/"}),
            "`url`: user and password",
        ),
        (
            json!({"url": "http://a/", "json": 1, "body": "x"}),
            "not both",
        ),
        (
            json!({"url": "http://a/", "method": "A B"}),
            "`method`: `A B` is no method",
        ),
        (
            json!({"url": "http://a/", "headers": {"Haul-Attempt": "9"}}),
            "`Haul-Attempt` is set by",
        ),
        (
            json!({"url": "http://a/", "headers": {"x": "hunter\n2"}}),
            "the value of `x` cannot",
        ),
        (json!({"url": "http://a/", "expect": 99}), "`expect`: 99"),
        (
            json!({"url": "http://a/", "timeout_ms": 0}),
            "`timeout_ms`: 0",
        ),
    ] {
        let job = call(&fleet, args.clone()).await.unwrap();
        let record = fleet.ended(job.id()).await;
        assert_eq!(reason(&record), Reason::Fatal);
        let error = record.life.error.unwrap();
        assert!(
            error.contains(why) && !error.contains("hunter"),
            "{args}: {error}"
        );
    }
}
