//! `haul batch` and `haul job watch`, from outside.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::io::{BufRead, BufReader};

use common::{Place, eventually, send, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Pushes a shell job of batch `b` with this id.
fn push(place: &Place, id: &str, script: &str, more: &[&str]) {
    let args = json!({ "script": script }).to_string();
    let words = [
        "job",
        "push",
        "shell.run",
        "--args",
        &args,
        "--batch",
        "b",
        "--id",
        id,
    ];
    place.ok(&[&words, more].concat());
}

/// Words that differ from run to run, as they look like.
fn masked(text: &str) -> String {
    let is_time = |word: &str| {
        let begins = word.starts_with(|c: char| c.is_ascii_digit());
        begins && (word.ends_with('s') || word.ends_with('Z'))
    };
    let line = |line: &str| {
        let words = line.split_whitespace();
        let words = words.map(|word| {
            if is_time(word.trim_start_matches('(')) {
                "TIME"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn batches_are_listed_newest_first_and_shown() {
    let place = Place::new();
    let nothing = place.haul(&["batch", "list"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(0), ""));
    assert!(nothing.stderr.contains("no batches yet"), "{nothing:?}");
    push(&place, "one", "exit 65", &[]);
    push(&place, "two", "exit 65", &["--delay", "1h"]);
    place.ok(&["job", "push", "haul.echo", "--batch", "later"]);
    place.ok(&["job", "cancel", "one"]);
    let list = place.ok(&["batch", "list"]);
    let widths: Vec<usize> = list.lines().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{list}");
    let expected = "\
BATCH JOBS WAITING RUNNING RETRYING SUCCEEDED DEAD CANCELLED AGE
later 1 1 0 0 0 0 0 TIME
b 2 1 0 0 0 0 1 TIME";
    assert_eq!(masked(&list), expected, "{list}");
    let expected = "\
b
created TIME TIME ago)
jobs 2, 1 ended
STATE JOBS
scheduled 1
cancelled 1";
    assert_eq!(masked(&place.ok(&["batch", "show", "b"])), expected);
    let shown = place.json(&["batch", "show", "b", "--json"]);
    assert_eq!((&shown["jobs"], &shown["ended"]), (&json!(2), &json!(1)));
    assert_eq!(shown["states"]["scheduled"], 1);
    let first = place.haul(&["batch", "list", "--limit", "1", "--json"]);
    assert_eq!(first.stdout.lines().count(), 1);
    let cursor = first
        .stderr
        .split_whitespace()
        .skip_while(|word| *word != "--after");
    let cursor = cursor
        .skip(1)
        .map(|word| word.trim_end_matches(','))
        .next()
        .unwrap();
    let rest = place.json(&["batch", "list", "--after", cursor, "--json"]);
    assert_eq!(rest["batch"], "b");
}

#[test]
fn an_unknown_batch_ends_with_5_and_a_wrong_name_with_2() {
    let place = Place::new();
    place.ok(&["job", "push", "haul.echo"]);
    for command in ["show", "watch", "report", "cancel", "retry"] {
        let ran = place.haul(&["batch", command, "nobody"]);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(5), ""),
            "{command}: {ran:?}"
        );
        assert!(ran.stderr.contains("haul batch list"), "{ran:?}");
        let ran = place.haul(&["batch", command, "no body"]);
        assert_eq!(ran.code, Some(2), "{command}: {ran:?}");
    }
    for (words, code) in [
        ("nobody", 5),
        ("queue:nobody", 5),
        ("tag:x", 5),
        ("colour:red", 2),
    ] {
        let ran = place.haul(&["job", "watch", words]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
}

#[test]
fn a_watch_into_a_pipe_prints_a_line_for_each_change_and_ends_with_the_last_job() {
    let place = Place::new();
    push(&place, "good", "sleep 0.2", &[]);
    push(&place, "bad", "exit 65", &[]);
    let words = ["batch", "watch", "b", "--interval", "50ms"];
    let mut watch = place.command(&words).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(first, "b: 2 jobs, 2 queued; 0% ended");
    let _worker = place.worker(&[]);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let last = rest.last().unwrap();
    assert!(
        last.starts_with("b: 2 jobs, 1 succeeded, 1 dead; 100% ended"),
        "{rest:?}"
    );
    assert!(rest.iter().all(|line| !line.contains('\u{1b}')), "{rest:?}");
    assert!(rest.windows(2).all(|pair| pair[0] != pair[1]), "{rest:?}");
    assert_eq!(wait(&mut watch), Some(3));
    for words in [
        &["batch", "watch", "b"][..],
        &["job", "watch", "batch:b", "--json"],
    ] {
        let again = place.haul(words);
        assert_eq!(again.code, Some(3), "{again:?}");
        assert_eq!(again.stdout.lines().count(), 1, "{again:?}");
    }
}

#[test]
fn jobs_of_a_filter_and_of_a_queue_are_watched_too() {
    let place = Place::new();
    push(&place, "one", "true", &["--tag", "eu"]);
    push(&place, "two", "true", &["--tag", "eu"]);
    push(&place, "three", "true", &["--delay", "1h"]);
    let _worker = place.worker(&[]);
    let looks = place.ok(&[
        "job",
        "watch",
        "tag:eu",
        "state:queued,running,succeeded",
        "--json",
    ]);
    let last: Value = serde_json::from_str(looks.lines().last().unwrap()).unwrap();
    assert_eq!(last["filter"], "tag:eu state:queued,running,succeeded");
    assert_eq!((&last["jobs"], &last["ended"]), (&json!(2), &json!(2)));
    assert_eq!(last["states"]["succeeded"], 2);
    place.ok(&["job", "cancel", "three"]);
    let queue = place.haul(&["job", "watch", "queue:default"]);
    assert_eq!(queue.code, Some(3), "{queue:?}");
    assert!(
        queue.stdout.contains("3 jobs, 2 succeeded, 1 cancelled"),
        "{queue:?}"
    );
}

#[test]
fn an_interrupted_watch_leaves_the_jobs_alone() {
    let place = Place::new();
    push(&place, "one", "true", &[]);
    let mut watch = place.command(&["job", "watch", "b"]).spawn().unwrap();
    let mut stdout = BufReader::new(watch.stdout.take().unwrap());
    common::await_line(&mut stdout, "1 queued");
    send(&watch, Signal::SIGINT);
    assert_eq!(wait(&mut watch), Some(130));
    assert_eq!(place.show("one")["state"], "queued");
}

#[test]
fn a_report_tells_times_the_slowest_and_failures_by_what_they_have_in_common() {
    let place = Place::new();
    push(&place, "slow", "sleep 0.3", &[]);
    for n in 1..=3 {
        push(
            &place,
            &format!("bad{n}"),
            &format!("echo 'no row {n}' >&2; exit 65"),
            &[],
        );
    }
    push(
        &place,
        "late",
        "test -e ready || exit 1",
        &["--backoff", "fixed(100ms)", "--attempts", "100"],
    );
    place.ok(&[
        "job",
        "push",
        "shell.run",
        "--args",
        "{\"script\": \"true\"}",
    ]);
    let worker = place.worker(&[]);
    eventually("it was tried again", || {
        place.show("late")["attempts"].as_array().unwrap().len() > 1
    });
    place.write("ready", "");
    assert_eq!(place.haul(&["batch", "watch", "b"]).code, Some(3));
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended(), Some(0));

    let report = place.json(&["batch", "report", "b", "--json"]);
    assert_eq!(report["jobs"], 5);
    assert_eq!(
        (&report["states"]["dead"], &report["states"]["succeeded"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(report["waiting"]["jobs"], 5);
    assert_eq!(report["retrying"]["jobs"], 1);
    assert!(
        report["retrying"]["total_ms"].as_u64() >= Some(100),
        "{report}"
    );
    assert!(
        report["running"]["max_ms"].as_u64() >= Some(300),
        "{report}"
    );
    assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["failures"][0]["dead"], 3);

    let csv = place.ok(&["batch", "report", "b", "--csv"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 6, "{csv}");
    assert!(rows.iter().all(|row| row.len() == 14), "{csv}");
    assert_eq!((rows[0][0], rows[1][0], rows[5][0]), ("id", "late", "slow"));
    assert_eq!((rows[5][4], rows[5][12]), ("succeeded", ""));
    assert_ne!(rows[1][12], "", "{csv}");

    let text = place.ok(&["batch", "report", "b"]);
    for words in [
        "b: 5 jobs",
        "2 succeeded, 3 dead",
        "TIME SPENT",
        "SLOWEST",
        "SUCH AS",
        "exit code 65",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let both = place.haul(&["batch", "report", "b", "--csv", "--json"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[test]
fn the_dead_jobs_of_a_batch_are_retried_and_the_open_ones_cancelled() {
    let place = Place::new();
    push(&place, "dead", "test -e mended || exit 65", &[]);
    push(&place, "open", "true", &["--delay", "1h"]);
    let _worker = place.worker(&[]);
    eventually("it is dead", || place.show("dead")["state"] == "dead");
    place.write("mended", "");
    let unasked = place.haul(&["batch", "retry", "b"]);
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(
        unasked
            .stderr
            .contains("would retry 1 job:\n  dead  shell.run"),
        "{unasked:?}"
    );
    assert_eq!(
        place.ok(&["batch", "retry", "b", "--yes"]),
        "1 job; 1 queued"
    );
    place.ok(&["job", "wait", "dead", "--timeout", "20s"]);
    assert_eq!(
        place.ok(&["batch", "cancel", "b", "--yes"]),
        "1 job; 1 cancelled"
    );
    let nothing = place.haul(&["batch", "cancel", "b", "--yes"]);
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (Some(0), ""),
        "{nothing:?}"
    );
}
