//! Of the list, and of what keeps labels few.

use super::{names::Names, *};

#[test]
fn every_name_follows_the_conventions() {
    for Family {
        name, kind, labels, ..
    } in LIST
    {
        assert!(name.starts_with("haul_"), "{name}");
        let counts = name.ends_with("_total");
        assert_eq!(counts, *kind == Kind::Counter, "{name}: _total");
        if *kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}: base units");
        }
        for word in ["host", "id", "error", "worker", "instance", "job"] {
            assert!(!labels.contains(&word), "{name} has the label {word}");
        }
    }
    let mut names: Vec<_> = LIST.iter().map(|family| family.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LIST.len());
}

#[test]
fn names_are_bounded() {
    let names = Names::default();
    for n in 0..2 * NAMES_MAX {
        names.learn(&n.to_string());
    }
    assert_eq!(names.known("0"), "0");
    assert_eq!(names.known("400"), OTHER);
    assert_eq!(names.learn("400"), OTHER);
    assert_eq!(names.learn("0"), "0");
}

#[test]
fn a_task_without_a_handler_is_other() {
    let queue = "folding".parse().unwrap();
    let meters = QueueMeters::new(&queue, 1, ["known", "idle"].into_iter());
    failed("idle", FailureReason::Lost);
    meters.task("known").started();
    meters.task("made.up").started();
    meters.task("made.up.too").started();
    let text = String::from_utf8(text()).unwrap();
    let line = |task: &str| format!("haul_jobs_started_total{{queue=\"folding\",task=\"{task}\"}}");
    assert!(text.contains(&format!("{} 1", line("known"))), "{text}");
    assert!(text.contains(&format!("{} 2", line("other"))), "{text}");
    assert!(!text.contains("made.up"), "{text}");
    let lost = "haul_job_failures_total{reason=\"lost\",task=\"idle\"} 1";
    assert!(text.contains(lost), "one that did not run here yet: {text}");
}

#[test]
fn a_backend_that_answers_again_is_counted() {
    let meters = BackendMeters::new("test", "again");
    let shown = |name: &str| {
        let text = String::from_utf8(text()).unwrap();
        let start = format!("{name}{{backend=\"test\",connection=\"again\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.map(str::to_owned)
    };
    let connected = || shown("haul_backend_connected");
    assert_eq!(connected(), None, "nobody tried yet");
    meters.up();
    meters.up();
    assert_eq!(connected().as_deref(), Some("1"));
    meters.down();
    assert_eq!(connected().as_deref(), Some("0"));
    meters.up();
    assert_eq!(shown("haul_backend_reconnects_total").as_deref(), Some("1"));
    meters.closed();
    assert_eq!(connected(), None);
}

#[test]
fn what_is_written_is_what_the_library_writes() {
    use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};
    let registry = Registry::new();
    let counts =
        IntCounterVec::new(Opts::new("counts", "a \\ help\nof lines"), &["a", "b"]).unwrap();
    counts.with_label_values(&["x", "\"quoted\\\n"]).inc_by(7);
    counts.with_label_values(&["y", ""]).inc();
    let bare = prometheus::Gauge::new("bare", "bare").unwrap();
    bare.set(-0.125);
    let options = || HistogramOpts::new("times", "times").buckets(vec![0.5, 1.0, 2.5]);
    let times = HistogramVec::new(options(), &["q"]).unwrap();
    times.with_label_values(&["one"]).observe(0.7);
    times.with_label_values(&["two"]).observe(70.25);
    let lone = prometheus::Histogram::with_opts(HistogramOpts::new("lone", "lone")).unwrap();
    registry.register(Box::new(counts)).unwrap();
    registry.register(Box::new(bare)).unwrap();
    registry.register(Box::new(times)).unwrap();
    registry.register(Box::new(lone)).unwrap();
    let mut theirs = Vec::new();
    let families = registry.gather();
    TextEncoder::new().encode(&families, &mut theirs).unwrap();
    let ours = String::from_utf8(super::text::write(&families).unwrap()).unwrap();
    assert_eq!(ours, String::from_utf8(theirs).unwrap());
}
