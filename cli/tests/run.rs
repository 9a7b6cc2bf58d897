//! `haul run`, from outside.

mod common;
#[path = "run/fleet.rs"]
mod fleet;
#[path = "run/items.rs"]
mod items;
#[path = "run/output.rs"]
mod output;
#[path = "run/stopping.rs"]
mod stopping;
#[path = "run/terminal.rs"]
mod terminal;

use std::{io::BufReader, process::Stdio};

use common::{Place, await_line, eventually, send, wait};
use nix::sys::signal::Signal;

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_command_runs_for_each_item_and_its_output_is_data() {
    let place = Place::new();
    let ran = place.haul(&["run", "-j2", "--", "echo", "got {}", ":::", "a", "b c", "a"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(lines(&ran.stdout), ["got a", "got a", "got b c"]);
    assert!(ran.stderr.contains("3 succeeded"), "{ran:?}");
    assert!(
        !ran.stderr.contains('\r') && !ran.stderr.contains('\u{1b}'),
        "no display in a pipe"
    );
}

#[test]
fn items_come_from_stdin_and_go_to_the_end() {
    let place = Place::new();
    let ran = place.haul_with("one\n\ntwo\n", &["run", "--quiet", "--", "echo", "-n"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(lines(&ran.stdout), ["one", "two"]);
    assert!(ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn failures_are_told_and_end_with_3() {
    let place = Place::new();
    let script = "echo \"bad $1\" >&2; test $1 != 2";
    let ran = place.haul(&["run", "--", "sh", "-c", script, "sh", ":::", "1", "2", "3"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("2 succeeded, 1 dead"), "{ran:?}");
    assert!(
        ran.stderr.contains("failed  2: ") && ran.stderr.contains("bad 2"),
        "{ran:?}"
    );
}

#[test]
fn a_retry_helps() {
    let place = Place::new();
    let script = "test -e tried || { touch tried; exit 1; }";
    let ran = place.haul(&[
        "run",
        "--retries",
        "2",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        ":::",
        "x",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("1 succeeded, 1 retried"), "{ran:?}");
}

#[test]
fn a_fresh_run_of_the_same_command_runs_everything_again() {
    let place = Place::new();
    let run = [
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "echo $1 >> ledger",
        "sh",
        ":::",
        "a",
        "b",
    ];
    place.ok(&run);
    place.ok(&run);
    assert_eq!(lines(&place.read("ledger")), ["a", "a", "b", "b"]);
}

#[test]
fn json_is_one_object_for_each_item() {
    let place = Place::new();
    let out = place.ok(&["run", "--json", "--", "echo", ":::", "a"]);
    let job: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&job["item"], &job["state"]),
        (&"a".into(), &"succeeded".into())
    );
    assert_eq!(job["result"]["stdout"], "a\n");
}

/// Each item writes itself down when it is done; items from 3 on wait for a file.
const LEDGER: &str =
    "case $1 in [12]) ;; *) until test -e go; do sleep 0.05; done ;; esac; echo $1 >> ledger";

fn ledger_run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let tail = [
        "--", "sh", "-c", LEDGER, "sh", ":::", "1", "2", "3", "4", "5", "6",
    ];
    [&["run", "-j2"], more, &tail].concat()
}

#[test]
fn resume_after_kill_9_repeats_nothing_that_succeeded() {
    let place = Place::new();
    let mut child = place
        .command(&ledger_run(&[]))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("two items succeeded", || {
        let list = place.haul(&["job", "list", "state:succeeded", "--json"]);
        list.stdout.lines().count() == 2
    });
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    place.write("go", "");
    // What ran may outlive the process that ran it; it is not what is tested here.
    let ran = place.haul(&ledger_run(&["--resume"]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("4 succeeded, 2 done before"), "{ran:?}");
    let ledger = place.read("ledger");
    for item in ["1", "2"] {
        assert_eq!(
            ledger.lines().filter(|line| *line == item).count(),
            1,
            "{ledger}"
        );
    }
    let mut items = lines(&ledger);
    items.dedup();
    assert_eq!(items, ["1", "2", "3", "4", "5", "6"]);
    let again = place.haul(&ledger_run(&["--resume"]));
    assert!(
        again.stderr.contains("0 succeeded, 6 done before"),
        "{again:?}"
    );
}

#[test]
fn an_interrupted_run_drains_and_can_be_resumed() {
    let place = Place::new();
    let mut child = place.command(&ledger_run(&[])).spawn().unwrap();
    eventually("two items run", || {
        place
            .haul(&["job", "list", "state:running", "--json"])
            .stdout
            .lines()
            .count()
            == 2
            && place.read("ledger").lines().count() == 2
    });
    send(&child, Signal::SIGINT);
    await_line(
        &mut BufReader::new(child.stderr.take().unwrap()),
        "interrupted",
    );
    place.write("go", "");
    assert_eq!(wait(&mut child), Some(130));
    assert_eq!(
        lines(&place.read("ledger")),
        ["1", "2", "3", "4"],
        "nothing new started"
    );
    let ran = place.haul(&ledger_run(&["--resume"]));
    assert!(ran.stderr.contains("2 succeeded, 4 done before"), "{ran:?}");
}

#[test]
fn a_failed_item_is_tried_again_by_resume() {
    let place = Place::new();
    let run = |more: &[&str]| {
        let tail = [
            "--",
            "sh",
            "-c",
            "echo $1 >> ledger; test $1 = a -o -e mended",
            "sh",
        ];
        place.haul(&[&["run"], more, &tail, &[":::", "a", "b"]].concat())
    };
    assert_eq!(run(&[]).code, Some(3));
    place.write("mended", "");
    assert_eq!(run(&["--resume"]).code, Some(0));
    assert_eq!(lines(&place.read("ledger")), ["a", "b", "b"]);
}
