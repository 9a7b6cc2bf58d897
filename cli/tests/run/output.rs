//! What items print, and where it goes.

use crate::{common::Place, lines};

const WAITS: &str = "sleep 0.$1; echo out $1; echo err $1 >&2; exit $2";

fn waits<'a>(more: &[&'a str], items: &[&'a str]) -> Vec<&'a str> {
    let command = ["--", "sh", "-c", WAITS, "sh", ":::"];
    [&["run", "-j8"], more, &command, items].concat()
}

#[test]
fn output_comes_in_the_order_of_items_when_asked() {
    let ran = Place::new().haul(&waits(&["-k"], &["3", "1", "2", "1"]));
    assert_eq!(ran.stdout, "out 3\nout 1\nout 2\nout 1\n", "{ran:?}");
}

#[test]
fn a_tag_begins_every_line_of_both_streams() {
    let ran = Place::new().haul(&["run", "--tag", ":::", "echo a; echo b; echo c >&2"]);
    let tag = "echo a; echo b; echo c >&2\t";
    assert_eq!(ran.stdout, format!("{tag}a\n{tag}b\n"), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{tag}c\n")), "{ran:?}");
}

#[test]
fn output_never_interleaves() {
    let script = "for n in $(seq 200); do printf '%s%s' $1 $1; printf '%s\\n' $1; done";
    let items = ["a", "b", "c", "d", "e", "f"];
    let run = ["run", "-j6", "--", "sh", "-c", script, "sh", ":::"];
    let out = Place::new().ok(&[&run[..], &items].concat());
    let mut runs: Vec<&str> = out.lines().collect();
    assert_eq!(runs.len(), 1200);
    runs.dedup();
    runs.sort_unstable();
    assert_eq!(
        runs,
        ["aaa", "bbb", "ccc", "ddd", "eee", "fff"],
        "each item's lines are together"
    );
}

#[test]
fn what_a_failed_item_printed_goes_where_it_was_printed_to() {
    let ran = Place::new().haul(&["run", ":::", "echo found 0; echo why >&2; exit 1"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(3), "found 0\n"), "{ran:?}");
    assert!(ran.stderr.contains("why\n"), "{ran:?}");
}

#[test]
fn a_joblog_has_the_columns_of_parallel() {
    let place = Place::new();
    let run = [
        "run",
        "-j1",
        "--joblog",
        "log",
        ":::",
        "echo hi",
        "exit 3",
        "kill -9 $$",
    ];
    assert_eq!(place.haul(&run).code, Some(3));
    let log = place.read("log");
    let rows: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    let heading = "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command";
    assert_eq!(rows[0].join(" "), heading);
    let told: Vec<_> = rows[1..]
        .iter()
        .map(|row| (row[0], row[1], &row[5..]))
        .collect();
    assert_eq!(told[0], ("1", ":", &["3", "0", "0", "echo hi"][..]));
    assert_eq!(told[1], ("2", ":", &["0", "3", "0", "exit 3"][..]));
    assert_eq!(told[2], ("3", ":", &["0", "137", "9", "kill -9 $$"][..]));
    let started: f64 = rows[1][2].parse().unwrap();
    let took: f64 = rows[1][3].trim().parse().unwrap();
    assert!(started > 1.7e9 && (0.0..60.0).contains(&took), "{log}");
    place.haul(&[&["run", "--resume"], &run[1..]].concat());
    assert_eq!(
        place.read("log").lines().count(),
        6,
        "it goes on, with what is tried again"
    );
}

#[test]
fn results_are_folders_named_by_items() {
    let place = Place::new();
    let ran = place.haul(&waits(&["--results", "res"], &["1", "2"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.read("res/1/stdout"), "out 1\n");
    assert_eq!(place.read("res/2/stderr"), "err 2\n");
    assert_eq!(
        (place.read("res/2/exit"), place.read("res/2/seq")),
        ("0\n".into(), "2\n".into())
    );
    place.haul(&["run", "--results", "res", ":::", "echo x; exit 9"]);
    let names = std::fs::read_dir(place.path("res")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names
        .into_iter()
        .find(|name| name.starts_with("echo x_ exit 9-"));
    assert_eq!(place.read(&format!("res/{}/exit", name.unwrap())), "9\n");
}

#[test]
fn starts_are_apart_by_the_delay() {
    let place = Place::new();
    let delay = ["run", "-j4", "--delay", "150ms", "--joblog", "log"];
    place.ok(&[&delay[..], &[":::", "true", "true", "true"]].concat());
    let log = place.read("log");
    let mut starts: Vec<f64> = log
        .lines()
        .skip(1)
        .map(|line| line.split('\t').nth(2).unwrap().parse().unwrap())
        .collect();
    starts.sort_by(f64::total_cmp);
    // A millisecond for clocks that are cut.
    assert!(
        starts.windows(2).all(|two| two[1] - two[0] > 0.1),
        "{starts:?}"
    );
}

#[test]
fn equal_items_are_run_as_often_as_they_come() {
    let out = Place::new().ok(&["run", "--", "echo", ":::", "a", "a", "b", "a"]);
    assert_eq!(lines(&out), ["a", "a", "a", "b"]);
}
