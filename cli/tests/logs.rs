//! `haul job logs`, from outside.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::io::{BufRead, BufReader};

use common::{Place, eventually, send, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn push(place: &Place, id: &str, script: &str, more: &[&str]) {
    let args = json!({ "script": script }).to_string();
    place.ok(&[
        &["job", "push", "shell.run", "--args", &args, "--id", id],
        more,
    ]
    .concat());
}

#[test]
fn the_log_of_each_attempt_is_printed_as_it_was() {
    let place = Place::new();
    let script = "echo n >> tries; echo \"try $(wc -l < tries)\"; test -e mended";
    push(
        &place,
        "one",
        script,
        &["--backoff", "fixed(50ms)", "--attempts", "3"],
    );
    let nothing = place.haul(&["job", "logs", "one"]);
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (Some(0), ""),
        "{nothing:?}"
    );
    assert!(nothing.stderr.contains("is queued"), "{nothing:?}");
    let _worker = place.worker(&[]);
    assert_eq!(
        place.haul(&["job", "wait", "one", "--timeout", "20s"]).code,
        Some(3)
    );
    assert_eq!(place.ok(&["job", "logs", "one"]), "try 3");
    assert_eq!(place.ok(&["job", "logs", "one", "--attempt", "2"]), "try 2");
    let first = place.json(&["job", "logs", "one", "--attempt", "1", "--json"]);
    assert_eq!(
        (&first["attempt"], &first["log"]),
        (&json!(1), &json!("try 1\n"))
    );
    assert_eq!(first["outcome"], "failed");
    let missing = place.haul(&["job", "logs", "one", "--attempt", "4"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(5), ""));
    assert!(missing.stderr.contains("known are: 1, 2, 3"), "{missing:?}");
    assert_eq!(place.haul(&["job", "logs", "nobody"]).code, Some(5));
    assert_eq!(
        place.haul(&["job", "logs", "one", "--attempt", "0"]).code,
        Some(2)
    );
    let ended = place.haul(&["job", "logs", "one", "-f"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "try 3\n"));
    place.write("mended", "");
    place.ok(&["job", "retry", "one"]);
    place.ok(&["job", "wait", "one", "--timeout", "20s"]);
    assert_eq!(
        place.ok(&["job", "logs", "one", "--attempt", "1"]),
        "try 4",
        "the later one"
    );
}

#[test]
fn a_log_is_followed_from_before_the_first_attempt_to_the_end() {
    let place = Place::new();
    let script = "echo begun; until test -e go; do sleep 0.05; done; echo 'and done'";
    push(&place, "one", script, &[]);
    let mut follow = place
        .command(&["job", "logs", "one", "--follow"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let _worker = place.worker(&[]);
    assert_eq!(lines.next().unwrap().unwrap(), "begun");
    assert_eq!(place.show("one")["state"], "running");
    place.write("go", "");
    assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["and done"]);
    assert_eq!(wait(&mut follow), Some(0));
}

#[test]
fn a_follower_goes_from_attempt_to_attempt_and_misses_nothing() {
    let place = Place::new();
    let script = "echo n >> tries; n=$(wc -l < tries); echo \"try $n\"; test $n = 3";
    push(&place, "one", script, &["--backoff", "fixed(50ms)"]);
    let follow = place
        .command(&["job", "logs", "one", "-f", "--json"])
        .spawn()
        .unwrap();
    let _worker = place.worker(&[]);
    let output = follow.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pieces = String::from_utf8(output.stdout).unwrap();
    let pieces: Vec<Value> = pieces
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts: Vec<&str> = pieces
        .iter()
        .map(|piece| piece["log"].as_str().unwrap())
        .collect();
    // Who comes late to a job begins with its latest attempt.
    assert!(
        "try 1\ntry 2\ntry 3\n".ends_with(&texts.concat()),
        "{pieces:?}"
    );
    assert!(texts.concat().ends_with("try 3\n"), "{pieces:?}");
}

#[test]
fn an_interrupted_follower_leaves_the_job_alone() {
    let place = Place::new();
    push(&place, "one", "sleep 60", &[]);
    let _worker = place.worker(&[]);
    eventually("it runs", || place.show("one")["state"] == "running");
    let mut follow = place
        .command(&["job", "logs", "one", "-f"])
        .spawn()
        .unwrap();
    // It listens for signals before it opens the file.
    eventually("it is connected", || {
        let dir = std::fs::read_dir(format!("/proc/{}/fd", follow.id()));
        dir.is_ok_and(|dir| {
            dir.flatten().any(|entry| {
                std::fs::read_link(entry.path()).is_ok_and(|path| path.ends_with("haul.db"))
            })
        })
    });
    send(&follow, Signal::SIGINT);
    assert_eq!(wait(&mut follow), Some(130));
    assert_eq!(place.show("one")["state"], "running");
}
