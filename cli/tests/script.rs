//! `haul script`, and jobs that run what it stored.

mod common;

use std::fs;

use common::Place;
use serde_json::{Value, json};

#[test]
fn a_stored_script_runs_by_its_name_and_version() {
    let place = Place::new();
    let first = "#!/bin/sh -e\necho \"first $HAUL_SCRIPT $*\"; cat\n";
    place.write("greet.sh", first);
    let version = place.ok(&["script", "add", "greet", "greet.sh"]);
    let second = place.haul_with("echo second", &["script", "add", "greet", "-", "--json"]);
    let second: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(second["interpreter"], "/bin/sh");
    let list = place.json(&["script", "list", "--json"]);
    assert_eq!(
        (&list["name"], &list["version"]),
        (&json!("greet"), &second["version"])
    );
    assert_eq!(place.ok(&["script", "show", "greet"]), "echo second");
    assert_eq!(
        place.ok(&["script", "show", "greet", "--at", &version]) + "\n",
        first
    );

    let _worker = place.worker(&[]);
    let run = |args: Value| place.ended(&place.push("script.run", &args, &[]));
    let job = run(json!({"name": "greet"}));
    assert_eq!(job["result"]["stdout"], "second\n", "{job}");
    assert_eq!(job["result"]["script_version"], second["version"]);
    let old = json!({"name": "greet", "version": version, "args": ["a b"], "stdin": "in"});
    assert_eq!(run(old)["result"]["stdout"], "first greet a b\nin");

    place.ok(&["script", "remove", "greet"]);
    let job = run(json!({"name": "greet", "version": version}));
    assert_eq!(job["reason"], "fatal", "{job}");
    assert!(
        job["error"]
            .as_str()
            .unwrap()
            .contains("haul script add greet"),
        "{job}"
    );
}

#[test]
fn what_is_no_script_is_not_stored() {
    let place = Place::new();
    place.write("bad", "#!python3\n");
    fs::write(place.path("binary"), b"\x7fELF\xff").unwrap();
    fs::write(place.path("large"), vec![b'x'; 70_000]).unwrap();
    for (args, words) in [
        (&["add", "x", "bad"][..], "#!/usr/bin/env"),
        (&["add", "x", "binary"], "byte 4"),
        (&["add", "x", "large"], "65536"),
        (&["add", "x", "missing"], "missing"),
        (&["add", "a/b", "bad"], "a/b"),
        (&["show", "x", "--at", "12"], "64 hexadecimal digits"),
    ] {
        let ran = place.haul(&[&["script"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    for command in ["show", "remove"] {
        assert_eq!(place.haul(&["script", command, "x"]).code, Some(5));
    }
    assert_eq!(place.ok(&["script", "list"]), "");
}
