//! What monitors are told, and that nobody who asks can do harm.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::time::{Duration, Instant};

use haul_tests::{
    backends,
    fleet::{Fleet, LONG},
    http::{ask, get},
    proxy::{Mode, Proxy},
    scripted::{self, Act},
    site::Site,
    wait::eventually,
};
use haul_worker::{Running, Shell, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ANYWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn becomes(running: &Running, status: u16, saying: &str) -> String {
    let at = running.listening().unwrap();
    eventually(&format!("{status}, {saying}"), LONG, || async {
        match get(at, "/readyz").await {
            (code, answer) if code == status && answer.contains(saying) => Ok(answer),
            other => Err(other),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_drains_is_alive_and_not_ready() {
    let fleet = Fleet::embedded().await;
    let listening = |worker: Worker<_>| {
        worker
            .queue("default", 2)
            .handle(scripted::run)
            .listen(ANYWHERE)
    };
    let running = fleet.worker(listening).await;
    let ready = becomes(&running, 200, r#""broker":"sqlite""#).await;
    assert!(ready.contains(r#""consuming":["default"]"#), "{ready}");
    let job = fleet.submit([Act::Hold]).await;
    fleet.started(job.id(), 1).await;
    running.drain();
    becomes(&running, 503, "it stops, and starts nothing new").await;
    let (alive, _) = get(running.listening().unwrap(), "/livez").await;
    assert_eq!(alive, 200);
    fleet.desk.let_go(1);
    running.finished().await.unwrap();
}

/// Which consumer is missing, and what does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_off_says_what_it_misses() {
    let amqp = backends::amqp_url();
    let redis = backends::redis_url();
    let site = Site::fleet(&amqp, &redis).await;
    let (brokers, stores) = (through(&amqp).await, through(&redis).await);
    let urls = site.urls(&brokers.1, &stores.1);
    let worker = Worker::connect(urls).await.unwrap();
    let worker = worker.queue("default", 2).builtins(Shell::Refused);
    let running = worker.listen(ANYWHERE).start().await.unwrap();
    becomes(&running, 200, r#""broker":"rabbitmq","store":"redis""#).await;

    brokers.0.set(Mode::Refuse);
    becomes(&running, 503, "no consumer on default (rabbitmq)").await;
    becomes(&running, 503, r#""missing":["the broker at "#).await;
    brokers.0.set(Mode::Pass);
    becomes(&running, 200, r#""missing":[]"#).await;
    // Although nothing is published.
    let publishes = r#"haul_backend_connected{backend="rabbitmq",connection="publish"} 1"#;
    eventually("the other connection to be back", LONG, || async {
        let (_, metrics) = get(running.listening().unwrap(), "/metrics").await;
        if metrics.contains(publishes) {
            Ok(())
        } else {
            Err(())
        }
    })
    .await;
    let (_, metrics) = get(running.listening().unwrap(), "/metrics").await;
    let again = r#"haul_backend_reconnects_total{backend="rabbitmq",connection="consume"} "#;
    let count = metrics.lines().find_map(|line| line.strip_prefix(again));
    assert_ne!(count.unwrap(), "0", "{metrics}");

    stores.0.set(Mode::Refuse);
    becomes(&running, 503, "the store does not answer (redis)").await;
    stores.0.set(Mode::Pass);
    becomes(&running, 200, r#""missing":[]"#).await;
    running.abort();
    running.finished().await.unwrap();
}

/// A proxy in front of what a URL names, and the URL of that.
async fn through(url: &str) -> (Proxy, String) {
    let mut to = url::Url::parse(url).unwrap();
    let upstream = format!("{}:{}", to.host_str().unwrap(), to.port().unwrap());
    let proxy = Proxy::to(&upstream).await;
    let address: std::net::SocketAddr = proxy.address().parse().unwrap();
    to.set_host(Some("127.0.0.1")).unwrap();
    to.set_port(Some(address.port())).unwrap();
    (proxy, to.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_three_paths_are_answered_and_only_to_get() {
    let fleet = Fleet::embedded().await;
    let listening = |worker: Worker<_>| worker.queue("default", 1).listen(ANYWHERE);
    let running = fleet.worker(listening).await;
    let at = running.listening().unwrap();
    assert_eq!(get(at, "/").await.0, 404);
    assert_eq!(get(at, "/metrics/../etc/passwd").await.0, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx";
    assert_eq!(ask(at, post).await.0, 405);
    let long = "x".repeat(100_000);
    let (status, _) = ask(at, &format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert!(matches!(status, 414 | 431 | 0), "{status}");
    assert_eq!(ask(at, "\u{16}\u{3}\u{1}\r\n\r\n").await.0, 400);
    let head = "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let (status, answer) = ask(at, head).await;
    assert!(status == 200 && answer.ends_with("\r\n\r\n"), "{answer}");
}

/// They lose their places before long, and others get through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_connect_and_say_nothing_keep_nobody_out() {
    let fleet = Fleet::embedded().await;
    let listening = |worker: Worker<_>| worker.queue("default", 1).listen(ANYWHERE);
    let running = fleet.worker(listening).await;
    let at = running.listening().unwrap();
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /met").await.unwrap();
        idle.push(stream);
    }
    let since = Instant::now();
    assert_eq!(get(at, "/livez").await.0, 200);
    assert!(since.elapsed() < Duration::from_secs(25), "{since:?}");
    let mut rest = Vec::new();
    let _ = idle[0].read_to_end(&mut rest).await;
}
