//! Every family of metrics: the only place where their names stand. Dashboards, alert rules and
//! the user's guide are held to this list by tests.

use std::sync::LazyLock;

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// A family of metrics.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name; of a histogram, what `_bucket`, `_sum` and `_count` follow.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Who exports it.
    pub source: Source,
    /// What it says.
    pub help: &'static str,
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were how long.
    Histogram,
}

/// Who exports a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Each process, of its own work: add them up.
    Process,
    /// `haul exporter` alone, of the whole fleet: never add these up over instances.
    Exporter,
}

/// For what jobs take and wait: from milliseconds to hours.
const SPANS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    1800.0, 3600.0, 21600.0,
];
/// For one way to a server, or to a disk, and back.
const TRIPS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

macro_rules! make {
    (Counter, $name:literal, $labels:expr, $help:literal) => {
        IntCounterVec::new(Opts::new($name, $help), $labels)
    };
    (Gauge, $name:literal, $labels:expr, $help:literal) => {
        GaugeVec::new(Opts::new($name, $help), $labels)
    };
    (Spans, $name:literal, $labels:expr, $help:literal) => {
        HistogramVec::new(
            HistogramOpts::new($name, $help).buckets(SPANS.to_vec()),
            $labels,
        )
    };
    (Trips, $name:literal, $labels:expr, $help:literal) => {
        HistogramVec::new(
            HistogramOpts::new($name, $help).buckets(TRIPS.to_vec()),
            $labels,
        )
    };
}

macro_rules! of {
    (Counter) => {
        IntCounterVec
    };
    (Gauge) => {
        GaugeVec
    };
    (Spans) => {
        HistogramVec
    };
    (Trips) => {
        HistogramVec
    };
}

macro_rules! kind {
    (Counter) => {
        Kind::Counter
    };
    (Gauge) => {
        Kind::Gauge
    };
    (Spans) => {
        Kind::Histogram
    };
    (Trips) => {
        Kind::Histogram
    };
}

macro_rules! families {
    ($($source:ident: $field:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// Every family.
        pub const LIST: &[Family] = &[$(Family {
            name: $name,
            kind: kind!($kind),
            labels: &[$($label),*],
            source: Source::$source,
            help: $help,
        },)+];

        /// Every family, to be counted in.
        #[derive(Debug)]
        pub struct Families {
            pub(super) registry: Registry,
            $(#[doc = $help] pub $field: of!($kind),)+
        }

        impl Families {
            fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                $(
                    let $field = make!($kind, $name, &[$($label),*], $help)?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { registry, $($field,)+ })
            }
        }
    };
}

families! {
    Process: enqueued = Counter "haul_jobs_enqueued_total" ["queue", "task", "scheduled"]
        "Jobs that were submitted here and accepted, by whether they are to start later.";
    Process: started = Counter "haul_jobs_started_total" ["queue", "task"]
        "Attempts that began here.";
    Process: finished = Counter "haul_jobs_finished_total" ["queue", "task", "outcome"]
        "Attempts that began here and ended, by what became of the job: succeeded, retried, postponed (at no cost), dead, cancelled, released (given back) or lost (another worker had it).";
    Process: failures = Counter "haul_job_failures_total" ["task", "reason"]
        "Attempts that failed, by why.";
    Process: dead = Counter "haul_jobs_dead_total" ["queue", "reason"]
        "Jobs that became dead, run or not, by why.";
    Process: duration = Spans "haul_job_duration_seconds" ["queue", "task"]
        "How long handlers ran.";
    Process: wait = Spans "haul_job_wait_seconds" ["queue"]
        "From when a job was due to the start of its first attempt.";
    Process: end_to_end = Spans "haul_job_end_to_end_seconds" ["queue"]
        "From when a job was due, or submitted if it took several attempts, to its success.";
    Process: running = Gauge "haul_jobs_running" ["queue"]
        "Handlers that run here now.";
    Process: slots = Gauge "haul_worker_slots" ["queue"]
        "How many may run here at once.";
    Process: longest = Gauge "haul_job_longest_running_seconds" ["queue"]
        "For how long the attempt has run that has run longest here; 0 when none runs.";
    Process: redelivered = Counter "haul_jobs_redelivered_total" ["queue"]
        "Messages that came here and had been delivered before.";
    Process: deduplicated = Counter "haul_jobs_deduplicated_total" ["queue"]
        "Copies of messages, and repeated submissions, that were recognised and did not run.";
    Process: leases_lost = Counter "haul_leases_lost_total" ["queue"]
        "Attempts whose end did not count: another worker had the job.";
    Process: publish = Trips "haul_publish_duration_seconds" ["backend"]
        "From giving a broker messages to its confirm, for each call.";
    Process: publish_failures = Counter "haul_publish_failures_total" ["backend", "reason"]
        "Messages that a broker refused, or did not confirm in time (unknown).";
    Process: trips = Trips "haul_store_round_trip_seconds" ["backend", "op"]
        "One round trip to the store: jobs share a flight (redis) or a commit (sqlite).";
    Process: store_errors = Counter "haul_store_errors_total" ["backend"]
        "Round trips to the store that failed.";
    Process: connected = Gauge "haul_backend_connected" ["backend", "connection"]
        "Whether the backend answers.";
    Process: reconnects = Counter "haul_backend_reconnects_total" ["backend", "connection"]
        "How often it answered again after it had not.";
    Process: build = Gauge "haul_build_info" ["version"]
        "Always 1; the version is in the label.";
    Exporter: queue_jobs = Gauge "haul_queue_jobs" ["queue", "state"]
        "Jobs that the store knows, by state.";
    Exporter: oldest = Gauge "haul_queue_oldest_job_age_seconds" ["queue"]
        "For how long the job has waited that has waited longest of those that may start; 0 when none waits.";
    Exporter: objective = Gauge "haul_queue_objective_seconds" ["queue"]
        "For how long a job of the queue should wait at most.";
    Exporter: paused = Gauge "haul_queue_paused" ["queue"]
        "1 while the queue is paused, so that nothing new of it starts; else 0.";
    Exporter: ready = Gauge "haul_queue_ready_messages" ["queue", "lane"]
        "Messages that wait in the broker and that no worker has.";
    Exporter: dead_letters = Gauge "haul_queue_dead_letters" ["queue"]
        "Dead letters that the broker keeps.";
    Exporter: unrouted = Gauge "haul_unrouted_messages" ["backend"]
        "Messages that no queue wanted and that no worker has looked at yet.";
    Exporter: queue_workers = Gauge "haul_queue_workers" ["queue"]
        "Workers that are alive and take jobs of the queue.";
    Exporter: queue_slots = Gauge "haul_queue_slots" ["queue"]
        "How many jobs of the queue these workers run at once.";
    Exporter: workers = Gauge "haul_workers" ["state"]
        "Workers by state: active, quiet (they start nothing new), or lost (gone without a goodbye within the last 100 s).";
    Exporter: polled = Gauge "haul_exporter_poll_timestamp_seconds" ["backend"]
        "When the exporter last heard all it asked this backend for, in Unix time.";
    Exporter: poll_took = Gauge "haul_exporter_poll_duration_seconds" ["backend"]
        "How long that took.";
    Exporter: canary_success = Gauge "haul_canary_last_success_timestamp_seconds" ["queue"]
        "When a canary, a tiny job, last went all the way through the queue, or when the exporter started, in Unix time.";
    Exporter: canary_took = Gauge "haul_canary_duration_seconds" ["queue"]
        "How long that one took.";
    Exporter: file = Gauge "haul_sqlite_file_bytes" ["file"]
        "Size of the SQLite file (db) and of its log (wal).";
}

/// The families of this process.
pub fn get() -> &'static Families {
    static FAMILIES: LazyLock<Families> = LazyLock::new(|| {
        // Names and labels are constants, and a test makes them.
        let families = Families::new().expect("the list of families is sound");
        let version = families
            .build
            .with_label_values(&[env!("CARGO_PKG_VERSION")]);
        version.set(1.0);
        families
    });
    &FAMILIES
}
