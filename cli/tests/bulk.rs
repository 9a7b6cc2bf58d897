//! Cancelling, retrying and editing, from outside.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::{
    io::{BufRead, BufReader, Read},
    time::{Duration, Instant},
};

use common::{Place, send, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn push(place: &Place, count: usize) {
    for n in 0..count {
        place.ok(&[
            "job",
            "push",
            "haul.echo",
            "--queue",
            "mail",
            "--id",
            &format!("j{n}"),
        ]);
    }
}

#[test]
fn ids_and_a_filter_are_told_apart_and_not_mixed() {
    let place = Place::new();
    push(&place, 3);
    let mixed = place.haul(&["job", "cancel", "j0", "queue:mail"]);
    assert_eq!(mixed.code, Some(2), "{mixed:?}");
    assert!(
        mixed
            .stderr
            .contains("`j0` is an id and `queue:mail` a word"),
        "{mixed:?}"
    );
    for wrong in [
        &["colour:red"][..],
        &["no/id"],
        &["queue:mail", "--rate", "100"],
        &[],
    ] {
        let ran = place.haul(&[&["job", "cancel"], wrong].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    }
    assert_eq!(place.show("j0")["state"], "queued", "nothing was half done");
    let ids = place.haul(&["job", "cancel", "j0", "nobody", "j1"]);
    assert_eq!(ids.code, Some(5));
    assert_eq!(
        ids.stdout,
        "j0  cancelled\nnobody  no such job is known\nj1  cancelled\n"
    );
    let words = place.ok(&["job", "cancel", "state:queued", "queue:mail", "--yes"]);
    assert_eq!(words, "1 job; 1 cancelled");
}

#[test]
fn a_dry_run_says_what_it_would_be_and_does_nothing() {
    let place = Place::new();
    push(&place, 7);
    let dry = place.json(&[
        "job",
        "cancel",
        "queue:mail",
        "--dry-run",
        "--yes",
        "--json",
    ]);
    assert_eq!(
        dry,
        json!({
            "would": "cancel", "jobs": 7, "samples": ["j6", "j5", "j4", "j3", "j2"],
        })
    );
    let none = place.json(&["job", "retry", "queue:mail", "--dry-run", "--json"]);
    assert_eq!(
        (&none["would"], &none["jobs"]),
        (&json!("retry"), &json!(0))
    );
    assert_eq!(place.show("j0")["state"], "queued");
}

#[test]
fn what_could_not_be_done_is_named_and_decides_the_exit_code() {
    let place = Place::new();
    push(&place, 3);
    place.ok(&["job", "cancel", "j0"]);
    place.ok(&[
        "job",
        "push",
        "shell.run",
        "--args",
        "{\"script\": \"true\"}",
        "--id",
        "fine",
    ]);
    let _worker = place.worker(&[]);
    place.ok(&["job", "wait", "fine", "--timeout", "20s"]);
    let words = ["job", "retry", "state:cancelled,succeeded", "--yes"];
    let some = place.haul(&words);
    assert_eq!(some.code, Some(6), "{some:?}");
    assert_eq!(some.stdout, "2 jobs; 1 queued; not done: 1 succeeded\n");
    assert!(
        some.stderr
            .contains("fine  cannot be retried: it is succeeded"),
        "{some:?}"
    );
    let each = place.haul(&[&words[..], &["--json"]].concat());
    assert_eq!(each.code, Some(6));
    assert_eq!(each.stdout, "{\"id\":\"fine\",\"outcome\":\"succeeded\"}\n");
}

#[test]
fn a_rate_is_kept_to_and_an_interruption_tells_what_is_left() {
    let place = Place::new();
    push(&place, 12);
    let began = Instant::now();
    let paced = [
        "job", "cancel", "j0", "j1", "j2", "j3", "j4", "--rate", "20/s",
    ];
    place.ok(&paced);
    assert!(began.elapsed() >= Duration::from_millis(150));

    let slow = [
        "job",
        "cancel",
        "queue:mail",
        "--yes",
        "--rate",
        "1/h",
        "--json",
    ];
    let mut child = place.command(&slow).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&first).unwrap()["outcome"],
        "cancelled"
    );
    send(&child, Signal::SIGINT);
    assert_eq!(wait(&mut child), Some(130));
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("7 jobs; 1 cancelled; 6 not tried"), "{said}");
    let open = place.ok(&["job", "list", "state:queued", "--json"]);
    assert_eq!(open.lines().count(), 6);
}

#[test]
fn a_dead_job_is_edited_and_retried() {
    let place = Place::new();
    let bad = json!({"script": "exit 65"}).to_string();
    place.ok(&["job", "push", "shell.run", "--id", "one", "--args", &bad]);
    let waiting = place.haul(&["job", "edit", "one", "--args", "1"]);
    assert_eq!((waiting.code, waiting.stdout.as_str()), (Some(6), ""));
    assert!(waiting.stderr.contains("it is queued"), "{waiting:?}");
    assert!(
        waiting.stderr.contains("haul job cancel one"),
        "{waiting:?}"
    );
    let _worker = place.worker(&[]);
    assert_eq!(
        place.haul(&["job", "wait", "one", "--timeout", "20s"]).code,
        Some(3)
    );
    let wrong = place.haul(&["job", "edit", "one", "--args", "{\n  x}"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("line 2, column 3"), "{wrong:?}");
    assert_eq!(place.show("one")["args"], json!({"script": "exit 65"}));
    let edit = ["job", "edit", "one", "--args", "-", "--json"];
    let edited = place.haul_with("{\"script\": \"echo mended\"}", &edit);
    assert_eq!(
        edited.stdout, "{\"id\":\"one\",\"outcome\":\"edited\"}\n",
        "{edited:?}"
    );
    assert_eq!(
        (&place.show("one")["edits"], &place.show("one")["state"]),
        (&json!(1), &json!("dead"))
    );
    place.ok(&["job", "retry", "one"]);
    let result = place.json(&["job", "wait", "one", "--timeout", "20s"]);
    assert_eq!(result["stdout"], "mended\n");
    assert_eq!(
        place.haul(&["job", "edit", "one", "--args", "1"]).code,
        Some(6)
    );
    assert_eq!(
        place.haul(&["job", "edit", "nobody", "--args", "1"]).code,
        Some(5)
    );
    assert_eq!(place.haul(&["job", "edit", "one"]).code, Some(2));
    let again = ["job", "push", "shell.run", "--id", "one", "--args", &bad];
    assert!(place.haul(&again).stderr.contains("submitted before"));
}
