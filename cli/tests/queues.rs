//! `haul queue`: pausing, showing, purging.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use common::{Place, eventually};
use serde_json::{Value, json};

fn push(place: &Place, id: &str, more: &[&str]) {
    place.push(
        "haul.echo",
        &json!(1),
        &[&["--queue", "mail", "--id", id], more].concat(),
    );
}

fn pause(place: &Place) -> String {
    place.ok(&[
        "queue",
        "pause",
        "mail",
        "--reason",
        "mail.example\nis down",
    ])
}

fn show(place: &Place) -> Value {
    place.json(&["queue", "show", "mail", "--json"])
}

fn state(place: &Place, id: &str) -> Value {
    place.show(id)["state"].take()
}

#[test]
fn a_pause_is_seen_everywhere_until_it_ends() {
    let place = Place::new();
    let paused = place.haul(&["queue", "pause", "mail", "--reason", "first"]);
    assert_eq!((paused.code, &*paused.stdout), (Some(0), "mail  paused\n"));
    assert!(
        paused
            .stderr
            .contains("no job or worker of `mail` is known")
    );
    let again = pause(&place);
    let first = again.starts_with("mail  is paused already for ") && again.ends_with(": first");
    assert!(first, "{again}");
    push(&place, "a", &[]);

    let list = place.ok(&["queue", "list"]);
    assert!(list.lines().nth(1).unwrap().ends_with("  paused"), "{list}");
    let view = place.json(&["queue", "list", "--json"]);
    assert_eq!(view["paused"]["reason"], "first");
    let shown = place.haul(&["queue", "show", "mail"]);
    assert!(shown.stdout.contains("  paused        for "), "{shown:?}");
    assert!(shown.stderr.contains("haul queue resume mail"), "{shown:?}");
    let job = place.haul(&["job", "show", "a"]);
    assert!(
        job.stderr.contains("queue `mail` is paused for "),
        "{job:?}"
    );
    let doctor = place.ok(&["doctor"]);
    assert!(
        doctor.contains("warning  pause: mail is paused for "),
        "{doctor}"
    );
    let metrics = place.ok(&["exporter", "--once"]);
    assert!(
        metrics.contains("haul_queue_paused{queue=\"mail\"} 1"),
        "{metrics}"
    );

    assert_eq!(place.ok(&["queue", "resume", "mail"]), "mail  goes on");
    assert_eq!(
        place.ok(&["queue", "resume", "mail"]),
        "mail  was not paused"
    );
    assert_eq!(show(&place)["paused"], Value::Null);
    assert!(!place.ok(&["doctor"]).contains("pause:"));
    let metrics = place.ok(&["exporter", "--once"]);
    assert!(
        metrics.contains("haul_queue_paused{queue=\"mail\"} 0"),
        "{metrics}"
    );
}

#[test]
fn scripts_are_told_what_came_of_it() {
    let place = Place::new();
    let ask = |words: &[&str]| place.json(&[&["queue"], words, &["mail", "--json"]].concat());
    let paused = ask(&["pause"]);
    assert_eq!(paused["outcome"], "paused");
    assert_eq!(paused["paused"]["reason"], Value::Null);
    assert_ne!(paused["paused"]["by"], "");
    let again = ask(&["pause", "--reason", "x"]);
    assert_eq!(again["outcome"], "already_paused");
    assert_eq!(again["paused"], paused["paused"]);
    assert_eq!(ask(&["resume"])["outcome"], "resumed");
    assert_eq!(ask(&["resume"])["outcome"], "not_paused");
}

#[test]
fn another_process_stops_and_goes_on() {
    let place = Place::new();
    let worker = place.worker(&["--queue", "mail=2", "--allow-shell"]);
    let script = json!({ "script": "until test -e go; do sleep 0.05; done" });
    let running = place.push("shell.run", &script, &["--queue", "mail"]);
    eventually("it runs", || state(&place, &running) == "running");
    pause(&place);
    // The lane that has nothing running gives its consumer up.
    eventually("the worker has heard of it", || {
        show(&place)["consumers"]["low"] == 0
    });
    push(&place, "waits", &[]);
    place.write("go", "");
    assert_eq!(place.ended(&running)["state"], "succeeded");
    assert_eq!(state(&place, "waits"), "queued");
    let view = show(&place);
    assert_eq!(view["served_by"][0]["pid"], worker.id());
    assert_eq!((&view["workers"], &view["slots"]), (&json!(1), &json!(2)));
    place.ok(&["queue", "resume", "mail"]);
    assert_eq!(place.ended("waits")["state"], "succeeded");
}

#[test]
fn a_pull_says_that_the_queue_is_paused() {
    let place = Place::new();
    push(&place, "a", &[]);
    pause(&place);
    for how in [&["--print"][..], &["--", "true"]] {
        let pull = place.haul(&[&["job", "pull", "--queue", "mail"], how].concat());
        assert_eq!((pull.code, &*pull.stdout), (Some(5), ""), "{pull:?}");
        let says = "queue `mail` is paused for ";
        assert!(pull.stderr.contains(says), "{pull:?}");
        assert!(
            pull.stderr.contains("mail.example; nothing is handed out"),
            "{pull:?}"
        );
    }
    assert_eq!(state(&place, "a"), "queued");
}

#[test]
fn a_queue_is_shown_with_its_objective_and_an_unknown_one_is_not() {
    let place = Place::new();
    push(&place, "a", &["--lane", "high"]);
    place.write(
        "haul.toml",
        "[exporter]\nobjective = '5m'\nobjectives = { mail = '30s' }\n",
    );
    let view = show(&place);
    assert_eq!(view["objective_ms"], 30_000);
    assert!(view["oldest_ms"].is_u64(), "{view}");
    assert_eq!(
        (&view["states"]["queued"], &view["ready"]["high"]),
        (&json!(1), &json!(1))
    );
    let shown = place.ok(&["queue", "show", "mail"]);
    assert!(
        shown.contains("(objective: 30.0s)") && shown.contains("  no worker"),
        "{shown}"
    );
    let unknown = place.haul(&["queue", "show", "male"]);
    assert_eq!(unknown.code, Some(5));
    assert!(
        unknown.stderr.contains("no queue `male` is known"),
        "{unknown:?}"
    );
}

#[test]
fn a_purge_cancels_what_is_queued_and_nothing_else() {
    let place = Place::new();
    for id in ["a", "b", "c"] {
        push(&place, id, &[]);
    }
    push(&place, "later", &["--delay", "1h"]);
    place.push("haul.echo", &json!(1), &["--id", "elsewhere"]);
    let purge = |more: &[&str]| place.haul(&[&["queue", "purge", "mail"], more].concat());
    let asked = purge(&[]);
    assert_eq!(asked.code, Some(2));
    assert!(
        asked
            .stderr
            .contains("will not cancel 3 jobs unasked: add --yes"),
        "{asked:?}"
    );
    let dry = purge(&["--dry-run", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&dry.stdout).unwrap()["jobs"],
        3
    );
    assert_eq!(state(&place, "a"), "queued");

    let done = purge(&["--yes"]);
    assert_eq!(
        (done.code, &*done.stdout),
        (Some(0), "3 jobs; 3 cancelled\n")
    );
    for (id, expected) in [
        ("a", "cancelled"),
        ("c", "cancelled"),
        ("later", "scheduled"),
    ] {
        assert_eq!(state(&place, id), expected, "{id}");
    }
    assert_eq!(state(&place, "elsewhere"), "queued");
    let nothing = purge(&["--yes"]);
    assert!(
        nothing.code == Some(0) && nothing.stderr.contains("no jobs"),
        "{nothing:?}"
    );
    // A worker drops their messages, and runs none of them.
    let _worker = place.worker(&["--queue", "mail"]);
    eventually("their messages are gone", || {
        show(&place)["ready"]["normal"] == 0
    });
    place.ok(&["job", "retry", "state:cancelled", "queue:mail", "--yes"]);
    assert_eq!(place.ended("a")["state"], "succeeded");
    assert_eq!(place.show("a")["attempts"].as_array().unwrap().len(), 1);
}
