//! TLS with an authority of one's own, towards servers that want to know who connects.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{path::Path, time::Duration};

use haul_common::{
    ports::{Broker, Level, Store},
    rabbitmq::RabbitMq,
    redis::RedisStore,
};
use haul_tests::{
    authority::Authority,
    backends::{amqp_url, namespace},
    servers::Server,
    site::Site,
    wait::SOON,
    worker_process::{Settings, WorkerProcess},
};

const ENOUGH: Duration = Duration::from_secs(60);

/// Both servers with a certificate for `localhost`, and one for us.
struct Tls {
    authority: Authority,
    ours: std::path::PathBuf,
    rabbitmq: Server,
    redis: Server,
}

impl Tls {
    async fn start() -> Self {
        tokio::task::spawn_blocking(|| {
            let authority = Authority::new("the authority of this test");
            let folder = authority.sign("server", &["localhost"]);
            let setting = format!("tls={}", folder.display());
            Self {
                ours: authority.sign("client", &["worker"]),
                rabbitmq: Server::rabbitmq(&[&setting]),
                redis: Server::redis(&[&setting]),
                authority,
            }
        })
        .await
        .unwrap()
    }

    fn urls(&self, host: &str, parameters: &str) -> [String; 2] {
        [&self.rabbitmq, &self.redis].map(|server| server.tls_url(host, parameters))
    }
}

fn ca(folder: &Path) -> String {
    format!("?cacertfile={}/ca.pem", folder.display())
}

fn identity(folder: &Path) -> String {
    let folder = folder.display();
    format!("certfile={folder}/cert.pem&keyfile={folder}/key.pem")
}

/// What connecting to the server at this URL fails with.
async fn refusal(url: &str) -> String {
    if url.starts_with("amqps") {
        let refused = RabbitMq::connect(url, namespace()).await;
        refused.err().map(|error| error.to_string())
    } else {
        let refused = RedisStore::connect(url, namespace()).await;
        refused.err().map(|error| error.to_string())
    }
    .unwrap_or_else(|| panic!("{url} was let in"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_jobs_run_over_tls() {
    let tls = Tls::start().await;
    let parameters = format!("{}&{}", ca(&tls.ours), identity(&tls.ours));
    let [amqps, rediss] = tls.urls("localhost", &parameters);
    let site = Site::fleet(&amqps, &rediss).await;
    let _worker = WorkerProcess::ready(&site, &Settings::default()).await;
    let mut ids = site.submit_many(50, &["ok"]).await;
    ids.extend(site.submit_many(10, &["fail 1", "ok"]).await);
    site.all_succeed(&ids, ENOUGH).await;
    site.is_empty(0, SOON).await;
    for finding in found(&site).await {
        assert_eq!(finding.level, Level::Fine, "{finding:?}");
    }
}

async fn found(site: &Site) -> Vec<haul_common::ports::Finding> {
    let backend = site.producer.backend();
    let mut found = backend.broker.check(&[]).await;
    found.extend(backend.store.check().await);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_who_they_should_be_is_refused_with_advice() {
    let tls = Tls::start().await;
    let strangers = Authority::new("a stranger");
    let stranger = strangers.sign("client", &["worker"]);
    let stranger_of_ours = tls.authority.sign("other", &["elsewhere"]);
    let (own, identity_of_ours) = (ca(&tls.ours), identity(&tls.ours));
    for (host, parameters, advice) in [
        // The server is not who it should be.
        (
            "127.0.0.1",
            format!("{own}&{identity_of_ours}"),
            "write the host's name",
        ),
        (
            "localhost",
            format!("?{identity_of_ours}"),
            "?cacertfile=PATH",
        ),
        (
            "localhost",
            format!("{}&{identity_of_ours}", ca(&stranger)),
            "?cacertfile=PATH",
        ),
        // We are not who we should be.
        ("localhost", own.clone(), "?certfile=PATH&keyfile=PATH"),
        (
            "localhost",
            format!("{own}&{}", identity(&stranger)),
            "?certfile=PATH&keyfile=PATH",
        ),
    ] {
        for url in tls.urls(host, &parameters) {
            let said = refusal(&url).await;
            assert!(said.contains(advice), "{url}: {said}");
            assert!(!said.contains("guest"), "{url}: {said}");
        }
    }
    // A name is nothing that servers look at: it lets in whoever the authority signed for.
    for url in tls.urls(
        "localhost",
        &format!("{own}&{}", identity(&stranger_of_ours)),
    ) {
        if url.starts_with("amqps") {
            RabbitMq::connect(&url, namespace())
                .await
                .unwrap()
                .close()
                .await;
        } else {
            RedisStore::connect(&url, namespace())
                .await
                .unwrap()
                .close()
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_without_tls_is_told_apart() {
    let authority = Authority::new("nobody");
    let parameters = ca(&authority.sign("client", &["worker"]));
    let url = amqp_url().replacen("amqp:", "amqps:", 1) + &parameters;
    let said = refusal(&url).await;
    assert!(said.contains("does this port speak TLS?"), "{said}");
}
