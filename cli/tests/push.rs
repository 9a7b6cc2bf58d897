//! `haul job push` with a job for each row of a file, from outside.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use common::{Place, Ran};
use serde_json::{Value, json};

const USERS: &str = "id,email,n\n1,a@x,7\n2,\"b\n@x\",8\n";

fn push(place: &Place, more: &[&str]) -> Ran {
    let args = ["job", "push", "email.send"];
    place.haul(&args.iter().chain(more).copied().collect::<Vec<_>>())
}

fn jobs(place: &Place) -> Vec<Value> {
    let list = place.ok(&["job", "list", "--json"]);
    let lines = list.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn each_record_of_a_csv_file_fills_the_arguments() {
    let place = Place::new();
    place.write("users.csv", USERS);
    let args = r#"{"to":"{email}","n":"{n:json}","text":"no {id}"}"#;
    let filled = ["--csv", "users.csv", "--args", args, "--id", "u-{id}"];
    let ran = push(&place, &filled);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("2 jobs submitted"), "{ran:?}");
    let first = place.show("u-1");
    assert_eq!(first["args"], json!({"to": "a@x", "n": 7, "text": "no 1"}));
    assert_eq!(first["batch"], ran.stdout.trim(), "one batch for all");
    assert_eq!(place.show("u-2")["args"]["to"], "b\n@x");
    let again = push(&place, &filled);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""));
    assert!(
        again
            .stderr
            .contains("0 jobs submitted; 2 jobs known before")
    );
    assert_eq!(jobs(&place).len(), 2);
}

#[test]
fn without_a_template_a_row_is_the_arguments() {
    let place = Place::new();
    place.write("users.csv", "id,n\n1,2\n");
    assert_eq!(push(&place, &["--csv", "users.csv"]).code, Some(0));
    assert_eq!(jobs(&place)[0]["args"], json!({"id": "1", "n": "2"}));
    let lines = "{\"id\":1}\n\n{\"id\":12345678901234567890}\n";
    let args = [
        "job", "push", "t", "--jsonl", "-", "--lane", "low", "--json",
    ];
    let ran = place.haul_with(lines, &args);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&told["submitted"], &told["existing"]),
        (&json!(2), &json!(0))
    );
    let newest = &jobs(&place)[0];
    assert_eq!(newest["args"].to_string(), r#"{"id":12345678901234567890}"#);
    assert_eq!(newest["lane"], "low");
}

#[test]
fn a_wrong_row_is_told_by_line_and_column_and_nothing_is_submitted() {
    let place = Place::new();
    place.write("users.csv", "id,n\n1,7\n2,x\n3\n4,8\n1,9\n");
    let args = [
        "--csv",
        "users.csv",
        "--args",
        "{\"n\":\"{n:json}\"}",
        "--id",
        "u-{id}",
    ];
    let ran = push(&place, &args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    for told in [
        "users.csv:3: column `n`: `x` is not JSON",
        "users.csv:4: it has 1 fields, and the header names 2",
        "users.csv:6: line 2 has the same id `u-1` for another job",
        "3 problems, so nothing is submitted",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    assert!(jobs(&place).is_empty());
}

#[test]
fn a_dry_run_lists_all_that_is_wrong_and_submits_nothing() {
    let place = Place::new();
    let lines: String = (0..30).map(|n| format!("{{\"lane\":{n}}}\n")).collect();
    let args = ["job", "push", "t", "--envelope", "--jsonl", "-"];
    let ran = place.haul_with(&lines, &args);
    assert_eq!(ran.stderr.matches("field `lane`").count(), 20);
    assert!(ran.stderr.contains("--dry-run lists all"), "{ran:?}");
    let dry = [&args[..], &["--dry-run", "--json"]].concat();
    let ran = place.haul_with(&lines, &dry);
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 30));
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["line"], &last["field"]),
        (&json!(30), &json!("lane"))
    );
    let ran = place.haul_with(
        "{\"lane\":\"low\"}\n",
        &[&args[..], &["--dry-run"]].concat(),
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "1 job would be submitted\n")
    );
    assert!(jobs(&place).is_empty());
}

#[test]
fn an_envelope_says_all_of_a_job_and_flags_what_it_leaves_out() {
    let place = Place::new();
    let lines = r#"{"task":"a","args":[1],"queue":"q","lane":"high","id":"one","attempts":2,"tags":["x"],"timeout":"3s"}
{"delay":"1h","batch":"mine"}"#;
    let args = [
        "job",
        "push",
        "b",
        "--envelope",
        "--jsonl",
        "-",
        "--tag",
        "all",
        "--batch",
        "day",
    ];
    let ran = place.haul_with(lines, &args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "day\n"));
    let one = place.show("one");
    for (key, value) in [
        ("task", json!("a")),
        ("args", json!([1])),
        ("queue", json!("q")),
        ("lane", json!("high")),
        ("max_attempts", json!(2)),
        ("tags", json!(["all", "x"])),
        ("timeout_ms", json!(3000)),
        ("batch", json!("day")),
    ] {
        assert_eq!(one[key], value, "{key}");
    }
    let list = place.ok(&["job", "list", "batch:mine", "--json"]);
    let other: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&other["task"], &other["state"]),
        (&json!("b"), &json!("scheduled"))
    );
}

#[test]
fn an_id_that_is_another_jobs_is_told_before_anything_is_submitted() {
    let place = Place::new();
    place.ok(&["job", "push", "email.send", "--args", "7", "--id", "u-2"]);
    place.write("users.csv", USERS);
    let ran = push(&place, &["--csv", "users.csv", "--id", "u-{id}"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("users.csv:3: another job"), "{ran:?}");
    assert_eq!(jobs(&place).len(), 1);
}

#[test]
fn what_no_row_can_mend_is_told_at_once() {
    let place = Place::new();
    place.write("users.csv", USERS);
    place.write("twice.csv", "a,a\n1,2\n");
    for (args, word) in [
        (
            &["--csv", "users.csv", "--args", "\"{emial}\""][..],
            "the columns are id, email, n",
        ),
        (
            &["--csv", "users.csv", "--args", "\"{email\""],
            "single `{`",
        ),
        (
            &["--csv", "users.csv", "--id", "same"],
            "the same for every row",
        ),
        (&["--csv", "twice.csv"], "two columns are named `a`"),
        (&["--csv", "none.csv"], "cannot read none.csv"),
        (&["--csv", "users.csv", "--wait", "1s"], "cannot be used"),
        (&["--dry-run"], "--jsonl"),
    ] {
        let ran = push(&place, args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains(word), "{args:?}: {ran:?}");
    }
}
