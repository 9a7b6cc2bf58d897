//! `haul job pull`, `done`, `fail` and `extend`, from outside: programs that are no workers.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Stdio,
};

use common::{Place, Ran, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn push(place: &Place, args: &str) -> String {
    place.ok(&["job", "push", "email.send", "--args", args])
}

fn pull(place: &Place, script: &str) -> Ran {
    place.haul(&["job", "pull", "--", "sh", "-c", script])
}

/// A job that was printed with a lease: its id, and the token.
fn printed(place: &Place, lease: &str) -> (String, String) {
    let job = place.json(&["job", "pull", "--print", "--lease", lease]);
    let text = |key: &str| job[key].as_str().unwrap().to_owned();
    (text("id"), text("lease"))
}

fn settle(place: &Place, what: &str, job: &(String, String), more: &[&str]) -> Ran {
    let args = ["job", what, &job.0, "--lease", &job.1];
    place.haul(&args.iter().chain(more).copied().collect::<Vec<_>>())
}

#[test]
fn a_program_gets_the_arguments_and_what_it_prints_is_the_result() {
    let place = Place::new();
    let (first, second) = (push(&place, r#"{"n": 1}"#), push(&place, "2"));
    let ran = pull(&place, "cat; echo \"$HAUL_TASK $HAUL_QUEUE\" >&2");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, format!("{first}  succeeded\n"));
    let ran = pull(&place, "echo \"$HAUL_JOB_ID is done\"");
    assert_eq!(ran.stdout, format!("{second}  succeeded\n"));
    let job = place.show(&first);
    assert_eq!(job["result"], json!({"n": 1}));
    let log = job["attempts"][0]["log"].as_str().unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["email.send default", "{\"n\": 1}"]);
    assert_eq!(place.show(&second)["result"], format!("{second} is done"));
}

#[test]
fn an_exit_code_decides_as_that_of_a_shell_job() {
    let place = Place::new();
    for (end, state) in [
        ("exit 75", "retrying"),
        ("exit 1", "retrying"),
        ("kill -9 $$", "retrying"),
        ("echo wrong >&2; exit 65", "dead"),
    ] {
        let id = push(&place, "null");
        let ran = place.haul(&["job", "pull", "--json", "--", "sh", "-c", end]);
        assert_eq!(ran.code, Some(3), "{end}: {ran:?}");
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&told["id"], &told["state"]), (&json!(id), &json!(state)));
        // It would come again while the next one is awaited.
        place.haul(&["job", "cancel", &id]);
    }
    push(&place, "null");
    let ran = place.haul(&["job", "pull", "--", "no-such-program"]);
    assert!(ran.stdout.ends_with("  dead\n"), "{ran:?}");
}

#[test]
fn only_so_many_are_taken_and_only_what_is_ready() {
    let place = Place::new();
    for n in 0..3 {
        push(&place, &n.to_string());
    }
    place.ok(&["job", "push", "email.send", "--delay", "1h"]);
    let ran = place.haul(&["job", "pull", "--max", "2", "-j2", "--", "true"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 2));
    let ran = place.haul(&["job", "pull", "--max", "9", "--", "true"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 1));
    let ran = place.haul(&["job", "pull", "--", "true"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""));
    assert!(ran.stderr.contains("no job of queue `default` is ready"));
    let ran = place.haul(&["job", "pull", "--print"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""));
}

#[test]
fn a_pull_that_is_killed_loses_no_job() {
    let place = Place::new();
    let ids = [push(&place, "1"), push(&place, "2")];
    let script = "echo $$ > pid.new; mv pid.new pid; exec sleep 60";
    let args = ["job", "pull", "--", "sh", "-c", script];
    let mut child = place.command(&args).spawn().unwrap();
    eventually("it runs", || !place.read("pid").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = place.haul(&["job", "pull", "--max", "2", "--wait", "20s", "--", "cat"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for id in &ids {
        assert_eq!(place.show(id)["state"], "succeeded");
    }
    let outcomes = |id: &str| place.show(id)["attempts"].as_array().unwrap().len();
    assert_eq!(outcomes(&ids[0]) + outcomes(&ids[1]), 3, "one was lost");
    let pid = place.read("pid").trim().parse().unwrap();
    // Where nothing else ends what it left behind.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}

#[test]
fn a_cancel_stops_the_program() {
    let place = Place::new();
    let id = push(&place, "null");
    let script = "trap 'echo > stopped; exit 1' TERM; echo > started; sleep 60 & wait";
    let args = ["job", "pull", "--", "sh", "-c", script];
    let mut child = place.command(&args).spawn().unwrap();
    eventually("it runs", || place.path("started").exists());
    place.ok(&["job", "cancel", &id]);
    assert_eq!(common::wait(&mut child), Some(3));
    assert!(place.path("stopped").exists(), "it was asked to stop");
    assert_eq!(place.show(&id)["state"], "cancelled");
}

fn metrics(at: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn follow_takes_what_comes_until_it_is_told_to_stop() {
    let place = Place::new();
    let args = ["job", "pull", "--follow", "-j2", "--listen", "127.0.0.1:0"];
    let mut command = place.command(&[&args[..], &["--", "cat"]].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    lines.read_line(&mut said).unwrap();
    for n in 0..3 {
        let id = push(&place, &n.to_string());
        eventually("it is done", || place.show(&id)["state"] == "succeeded");
    }
    let at = said.split("//").nth(1).unwrap().split('/').next().unwrap();
    let count = r#"haul_jobs_finished_total{outcome="succeeded",queue="default",task="other"} 3"#;
    eventually("they are counted", || metrics(at).contains(count));
    common::send(&child, Signal::SIGTERM);
    assert_eq!(common::wait(&mut child), Some(0));
}

#[test]
fn a_printed_job_is_settled_by_its_lease() {
    let place = Place::new();
    push(&place, r#"{"to": "a"}"#);
    let job = place.json(&["job", "pull", "--print"]);
    assert_eq!(job["task"], "email.send");
    assert_eq!(job["args"], json!({"to": "a"}));
    assert_eq!(job["attempt"], 1);
    let lease = (
        job["id"].as_str().unwrap().to_owned(),
        job["lease"].as_str().unwrap().to_owned(),
    );
    let shown = place.show(&lease.0).to_string();
    assert!(!shown.contains(&lease.1[..32]), "the record tells: {shown}");
    let until = settle(&place, "extend", &lease, &["--by", "1h"]);
    assert_eq!(until.code, Some(0), "{until:?}");
    assert!(until.stdout.trim() > job["lease_until"].as_str().unwrap());
    for words in ["", "told so before"] {
        let done = settle(&place, "done", &lease, &["--result", "{\"sent\": 3}"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(done.stdout, format!("{}  succeeded\n", lease.0));
        assert!(done.stderr.contains(words), "{done:?}");
    }
    assert_eq!(place.show(&lease.0)["result"], json!({"sent": 3}));
    let late = settle(&place, "fail", &lease, &[]);
    assert_eq!(late.code, Some(6));
    assert!(late.stderr.contains("ended as succeeded"), "{late:?}");
}

#[test]
fn a_failed_lease_is_tried_again_or_is_dead() {
    let place = Place::new();
    push(&place, "null");
    let first = printed(&place, "1m");
    let failed = settle(
        &place,
        "fail",
        &first,
        &["--error", "no route", "--retry-after", "1s"],
    );
    assert_eq!(failed.stdout, format!("{}  retrying\n", first.0));
    let job = place.json(&["job", "pull", "--print", "--wait", "20s"]);
    assert_eq!(job["attempt"], 2);
    let second = (first.0, job["lease"].as_str().unwrap().to_owned());
    let dead = settle(&place, "fail", &second, &["--error", "no user", "--fatal"]);
    assert_eq!(dead.stdout, format!("{}  dead\n", second.0));
    let job = place.show(&second.0);
    assert_eq!(
        (&job["reason"], &job["error"]),
        (&json!("fatal"), &json!("no user"))
    );
}

#[test]
fn a_lease_that_ran_out_is_refused_with_what_happened() {
    let place = Place::new();
    push(&place, "null");
    let lease = printed(&place, "1s");
    // Whoever pulls next gives it back, and takes it.
    let mut again = None;
    eventually("the lease runs out", || {
        let ran = place.haul(&["job", "pull", "--print"]);
        again = (ran.code == Some(0)).then_some(ran.stdout);
        again.is_some()
    });
    let again: Value = serde_json::from_str(&again.unwrap()).unwrap();
    assert_eq!(
        (&again["id"], &again["attempt"]),
        (&json!(lease.0), &json!(2))
    );
    for what in ["done", "fail", "extend"] {
        let ran = settle(&place, what, &lease, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(6), ""));
        assert!(
            ran.stderr
                .contains("it ran out, and the job was given back"),
            "{ran:?}"
        );
        assert!(
            ran.stderr.contains("the job is running, attempt 2"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_lease_tells_that_its_job_is_to_stop() {
    let place = Place::new();
    push(&place, "null");
    let lease = printed(&place, "1m");
    place.ok(&["job", "cancel", &lease.0]);
    let told = settle(&place, "extend", &lease, &["--json"]);
    assert_eq!(told.code, Some(3), "{told:?}");
    let view: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(view["cancel_requested"], true);
    assert!(told.stderr.contains("was asked to stop"), "{told:?}");
    let failed = settle(&place, "fail", &lease, &[]);
    assert_eq!(failed.stdout, format!("{}  cancelled\n", lease.0));
}

#[test]
fn what_cannot_be_is_refused_with_what_would_be_right() {
    let place = Place::new();
    push(&place, "null");
    let lease = printed(&place, "1m");
    let wrong = |args: &[&str], code: i32, word: &str| {
        let ran = place.haul(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(
            ran.stderr.contains(word) && ran.stdout.is_empty(),
            "{args:?}: {ran:?}"
        );
    };
    wrong(&["job", "pull"], 2, "--print|CMD");
    wrong(
        &["job", "pull", "--print", "--", "cat"],
        2,
        "cannot be used",
    );
    wrong(&["job", "pull", "--print", "--follow"], 2, "cannot be used");
    wrong(
        &["job", "pull", "--print", "--lease", "25h"],
        2,
        "1s to 24h",
    );
    wrong(
        &["job", "done", &lease.0, "--lease", "x"],
        2,
        "not a lease token",
    );
    wrong(
        &["job", "done", "nope", "--lease", &lease.1],
        5,
        "no job nope",
    );
    let other = push(&place, "1");
    wrong(
        &["job", "done", &other, "--lease", &lease.1],
        6,
        "not for any attempt",
    );
    let not_json = [
        "job", "done", &lease.0, "--lease", &lease.1, "--result", "{",
    ];
    wrong(&not_json, 2, "--result is not JSON");
    assert_eq!(place.show(&lease.0)["state"], "running", "it is still ours");
}
