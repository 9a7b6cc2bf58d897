//! `haul exporter`: looks at store and broker now and then, and shows what is true of the whole
//! fleet. What a look costs depends on the number of queues, never on how many jobs wait.

mod canary;
mod look;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use haul_common::metrics;
use haul_producer::QueueName;
use haul_worker::endpoint::{Answer, Endpoint};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};
use look::Look;

/// Where it listens unless told otherwise.
pub(crate) const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9465));

/// What to export, and how often.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) objectives: Objectives,
    pub(crate) every: Duration,
    pub(crate) canaries: Vec<QueueName>,
    pub(crate) canary_every: Duration,
}

/// For how long jobs should wait at most.
#[derive(Debug)]
pub(crate) struct Objectives {
    pub(crate) queues: BTreeMap<QueueName, Duration>,
    pub(crate) others: Duration,
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            queues: BTreeMap::new(),
            others: Duration::from_secs(300),
        }
    }
}

impl Objectives {
    fn of(&self, queue: &QueueName) -> Duration {
        self.queues.get(queue).copied().unwrap_or(self.others)
    }
}

/// What `/readyz` says.
#[derive(Debug, Clone, Serialize)]
struct Status {
    ready: bool,
    broker: &'static str,
    store: &'static str,
    missing: Vec<String>,
}

/// Looks once, and prints.
///
/// # Errors
/// When a backend does not answer.
pub(crate) async fn once(session: &Session, plan: Plan) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let file = session.settings.file().map(ToOwned::to_owned);
    let mut look = Look::new(producer.backend().clone(), plan.objectives, file);
    look.at_store().await?;
    look.at_broker().await?;
    let text = metrics::text();
    output::text(&String::from_utf8_lossy(&text))
}

/// Looks at an interval, and answers, until SIGTERM or SIGINT.
///
/// # Errors
/// When the address is taken, or the backend cannot be used as it is.
pub(crate) async fn run(session: &Session, plan: Plan, at: SocketAddr) -> anyhow::Result<()> {
    let endpoint = Endpoint::bind(at).await.map_err(|why| {
        let advice = "choose another address or port by --listen";
        Exit::with(
            Code::Failed,
            format!("cannot listen on {at}: {why}; {advice}"),
        )
    })?;
    let producer = session.connect().await?;
    let backend = producer.backend().clone();
    let status = Arc::new(Mutex::new(Status {
        ready: false,
        broker: backend.broker.kind(),
        store: backend.store.kind(),
        missing: vec!["it has not looked yet".to_owned()],
    }));
    session.say(format!(
        "haul: metrics on http://{}/metrics",
        endpoint.address()
    ));
    let shown = Arc::clone(&status);
    // Its looks have deadlines; that it looks at all, `/readyz` says.
    let lives = || true;
    tokio::spawn(endpoint.serve(lives, move || {
        let status = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answer::json(status.ready, &status)
    }));
    for queue in plan.canaries {
        tokio::spawn(canary::run(producer.clone(), queue, plan.canary_every));
    }
    let file = session.settings.file().map(ToOwned::to_owned);
    let look = Look::new(backend, plan.objectives, file);
    tokio::select! {
        () = keep_looking(look, plan.every, &status) => Ok(()),
        stopped = stopped() => stopped,
    }
}

async fn keep_looking(mut look: Look, every: Duration, status: &Mutex<Status>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Each for itself: one that is away must not hide what the other says.
        let store = look.at_store().await.err().map(|error| error.to_string());
        let broker = look.at_broker().await.err().map(|error| error.to_string());
        let missing: Vec<String> = store.into_iter().chain(broker).collect();
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        if missing != status.missing {
            for error in &missing {
                tracing::warn!(error, "cannot look; what is shown is from before");
            }
        }
        status.ready = missing.is_empty();
        status.missing = missing;
    }
}

async fn stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
