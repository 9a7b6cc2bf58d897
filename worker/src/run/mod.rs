//! The loops of a worker, one file each, all around one [`Hub`].
//!
//! ```text
//!   broker -> feed (one per lane) -> queue (one per queue: lanes, slots) -> attempt (one per job)
//!                                                                           `-> supervise
//!   heartbeat: liveness, cancels, lost attempts,     janitor: orphans, expiry
//!              paused queues
//!   overdue: jobs without a message                  refile: records that no index knows
//!   sheep: unrouted                                  errand: a worker that ends by itself
//! ```

mod alive;
mod attempt;
mod errand;
mod feed;
mod health;
mod heartbeat;
mod janitor;
mod lanes;
mod launch;
mod meter;
mod overdue;
mod queue;
mod refile;
mod room;
mod running;
mod sheep;
mod status;
mod supervise;
mod table;
mod tenure;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZero, NonZeroU32},
    sync::Arc,
    time::Duration,
};

use haul_common::{
    connect::{Backend, ConnectError},
    job::{JobId, QueueName, WorkerId},
    life::Life,
    metrics::QueueMeters,
    ports::{BrokerError, StoreError, WorkerInfo},
    protocol::Protocol,
    time::Timestamp,
};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::task::TaskTracker;

pub use running::Running;
pub use status::Status;

use crate::{
    context::StopCause,
    endpoint::Endpoint,
    handler::Registry,
    io::Io,
    stop::{Level, Stop},
};
use alive::Alive;
pub use alive::Liveness;
use errand::Errand;
use health::{Gates, Health, Readiness};
use launch::Launcher;
use overdue::Passed;
use room::Room;
use table::Table;
use tenure::Tenure;

/// What the loops need to know.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) io: Io,
    pub(crate) backend: Backend,
    /// The backend was connected for this worker alone, and is closed with it.
    pub(crate) owns_backend: bool,
    pub(crate) registry: Registry,
    pub(crate) queues: BTreeMap<QueueName, u32>,
    pub(crate) strict_lanes: bool,
    pub(crate) grace: Duration,
    pub(crate) guard_after: Duration,
    pub(crate) at_most: Option<NonZeroU32>,
    pub(crate) until_idle: Option<Duration>,
    pub(crate) observer: Option<Observer>,
    /// Where to answer monitors.
    pub(crate) listen: Option<SocketAddr>,
    /// The first option that was wrong.
    pub(crate) wrong: Option<String>,
}

/// Is told of every job that begins or ends an attempt here.
pub(crate) type Observer = mpsc::UnboundedSender<(JobId, Life)>;

/// A worker that cannot start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An option is not what it must be.
    #[error("the worker cannot start: {0}")]
    Option(String),
    /// The address cannot be listened on.
    #[error("the worker cannot listen on {at}: {why}; choose another address or port")]
    Listen {
        /// Which.
        at: SocketAddr,
        /// What went wrong.
        why: std::io::Error,
    },
    /// No threads.
    #[error("the worker cannot start its threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The pair cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker cannot be used as it is.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store cannot be used as it is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its own runtime ended under it.
    #[error("the worker's loops ended unexpectedly")]
    Stopped,
}

/// What all loops share.
#[derive(Debug)]
struct Hub {
    protocol: Protocol,
    worker: WorkerInfo,
    registry: Registry,
    table: Table,
    tenure: Arc<Tenure>,
    health: Health,
    alive: Arc<Alive>,
    gates: Gates,
    /// Of each queue that it consumes.
    rooms: BTreeMap<QueueName, Arc<Room>>,
    passed: Passed,
    /// Of each queue that it consumes.
    meters: BTreeMap<QueueName, Arc<QueueMeters>>,
    readiness: Readiness,
    stop: Stop,
    errand: Errand,
    attempts: TaskTracker,
    /// Starts handlers, on the application's runtime.
    launcher: Launcher,
    /// Where everything else runs.
    io: Handle,
    strict_lanes: bool,
    guard_after: Duration,
    observer: Option<Observer>,
}

impl Hub {
    fn id(&self) -> &WorkerId {
        &self.worker.id
    }

    fn liveness(&self) -> Liveness {
        Liveness {
            alive: self.alive.clone(),
            stop: self.stop.clone(),
        }
    }

    fn show(&self, id: JobId, life: Life) {
        if let Some(observer) = &self.observer {
            // Nobody looks any more: the work goes on.
            let _ = observer.send((id, life));
        }
    }
}

/// After an abort, an attempt gets this long to save a checkpoint and be given back.
const ABORT_GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn start(parts: Parts) -> Result<Running, RunError> {
    if let Some(wrong) = parts.wrong {
        return Err(RunError::Option(wrong));
    }
    let Parts {
        io,
        backend,
        owns_backend,
        registry,
        mut queues,
        ..
    } = parts;
    let endpoint = match parts.listen {
        Some(at) => Some(listen(&io, at).await?),
        None => None,
    };
    if queues.is_empty() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        queues.insert(
            QueueName::default_queue(),
            u32::try_from(cores * 2).unwrap_or(2),
        );
    }
    let worker = WorkerInfo {
        id: WorkerId::random(),
        host: host(),
        pid: std::process::id(),
        started: Timestamp::now(),
        queues,
        quiet: false,
    };
    let meters = worker.queues.iter().map(|(queue, slots)| {
        let meters = QueueMeters::new(queue, *slots, registry.tasks());
        (queue.clone(), Arc::new(meters))
    });
    let rooms = worker.queues.iter();
    let rooms = rooms.map(|(queue, slots)| (queue.clone(), Arc::new(Room::new(*slots))));
    let hub = Arc::new(Hub {
        protocol: Protocol::new(backend),
        passed: Passed::new(worker.queues.keys()),
        meters: meters.collect(),
        rooms: rooms.collect(),
        readiness: Readiness::new(worker.queues.keys()),
        worker,
        registry,
        table: Table::default(),
        tenure: Arc::new(Tenure::new()),
        health: Health::default(),
        alive: Arc::default(),
        gates: Gates::default(),
        stop: Stop::new(),
        errand: Errand::new(parts.at_most, parts.until_idle),
        attempts: TaskTracker::new(),
        launcher: Launcher::new(Handle::current()),
        io: io.handle(),
        strict_lanes: parts.strict_lanes,
        guard_after: parts.guard_after,
        observer: parts.observer,
    });
    let listening = endpoint.as_ref().map(Endpoint::address);
    if let Some(endpoint) = endpoint {
        let (liveness, hub) = (hub.liveness(), hub.clone());
        let lives = move || liveness.is_alive();
        io.handle()
            .spawn(endpoint.serve(lives, move || status::of(&hub).answer()));
    }
    let prepared = crate::io::on(&io.handle(), prepare(hub.clone())).await;
    prepared.ok_or(RunError::Stopped)??;
    let loops = io
        .handle()
        .spawn(run(hub.clone(), parts.grace, owns_backend));
    Ok(Running {
        hub,
        io,
        grace: parts.grace,
        loops,
        listening,
    })
}

/// Before anything else: who cannot be looked at shall not begin.
async fn listen(io: &Io, at: SocketAddr) -> Result<Endpoint, RunError> {
    let bound = crate::io::on(&io.handle(), Endpoint::bind(at)).await;
    bound
        .ok_or(RunError::Stopped)?
        .map_err(|why| RunError::Listen { at, why })
}

/// Alive before the first claim: a claim by a worker that never beat would look like an orphan's.
async fn prepare(hub: Arc<Hub>) -> Result<(), RunError> {
    let queues: Vec<QueueName> = hub.worker.queues.keys().cloned().collect();
    hub.protocol.backend().broker.declare(&queues).await?;
    heartbeat::beat(&hub).await?;
    Ok(())
}

async fn run(hub: Arc<Hub>, grace: Duration, owns_backend: bool) {
    let background = TaskTracker::new();
    // It ends when it has nothing to do.
    background.spawn(errand::run(hub.clone()));
    for task in [
        background.spawn(heartbeat::run(hub.clone())),
        background.spawn(janitor::run(hub.clone())),
        background.spawn(overdue::run(hub.clone())),
        background.spawn(refile::run(hub.clone())),
        background.spawn(sheep::run(hub.clone())),
    ] {
        hub.alive.keep(&task);
    }
    let consuming = TaskTracker::new();
    for queue in hub.worker.queues.keys() {
        let task = consuming.spawn(queue::run(hub.clone(), queue.clone()));
        hub.alive.keep(&task);
    }
    consuming.close();

    hub.stop.reached(Level::Drain).await;
    consuming.wait().await;
    hub.attempts.close();
    let drained = tokio::select! {
        () = hub.attempts.wait() => true,
        () = tokio::time::sleep(grace) => false,
        () = hub.stop.reached(Level::Abort) => false,
    };
    hub.stop.raise(Level::Abort);
    hub.table.stop_all(StopCause::Stopping);
    if !drained {
        tracing::warn!(
            running = hub.attempts.len(),
            "stopping what still runs, and giving it back"
        );
        // What cannot be given back in time comes back by itself, once this process is gone.
        let patience = ABORT_GRACE * 2;
        if tokio::time::timeout(patience, hub.attempts.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = hub.attempts.len(),
                "not given back: their delivery comes again"
            );
        }
    }
    background.close();
    background.wait().await;
    let backend = hub.protocol.backend();
    if let Err(error) = backend.store.retire(hub.id()).await {
        tracing::debug!(%error, "could not say goodbye");
    }
    if owns_backend {
        backend.broker.close().await;
        backend.store.close().await;
    }
    tracing::info!("stopped");
}

fn host() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned())
}
