//! How a run ends early, and goes on.

use std::{process::Stdio, time::Instant};

use nix::sys::signal::Signal;

use crate::common::{PATIENCE, Place, eventually, send, wait};

#[test]
fn halt_soon_starts_nothing_more_and_lets_what_runs_finish() {
    let place = Place::new();
    let script = "test $1 = 1 && exit 1; until test -e failed; do sleep 0.05; done; echo $1 >> ran";
    let run = [
        "run",
        "-j2",
        "--halt",
        "soon,fail=1",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        ":::",
    ];
    let mut child = place
        .command(&[&run[..], &["1", "2", "3", "4"]].concat())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the rest is called back", || {
        let list = place.haul(&["job", "list", "state:cancelled", "--json"]);
        list.stdout.lines().count() >= 1
    });
    place.write("failed", "");
    assert_eq!(wait(&mut child), Some(3));
    // The slot of the first may have taken the next before its end was heard of.
    let ran = place.read("ran");
    assert!(ran.lines().count() <= 2 && ran.contains('2'), "{ran}");
    assert!(!ran.contains('4'), "{ran}");
}

#[test]
fn halt_now_stops_what_runs() {
    let place = Place::new();
    let script = "test $1 = 1 && { until test -e began; do sleep 0.05; done; exit 1; }; \
                  touch began; sleep 100";
    let began = Instant::now();
    let run = [
        "run",
        "-j2",
        "--halt",
        "now,fail=1",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        ":::",
    ];
    let ran = place.haul(&[&run[..], &["1", "2", "3"]].concat());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("2 submitted items are left"), "{ran:?}");
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn a_second_signal_stops_what_runs() {
    let place = Place::new();
    let run = ["run", "-j1", ":::", "touch began; sleep 100", "true"];
    let mut child = place.command(&run).stderr(Stdio::null()).spawn().unwrap();
    eventually("it runs", || place.path("began").exists());
    send(&child, Signal::SIGINT);
    eventually("the rest is called back", || {
        let list = place.haul(&["job", "list", "state:cancelled", "--json"]);
        list.stdout.lines().count() == 1
    });
    send(&child, Signal::SIGINT);
    assert_eq!(wait(&mut child), Some(130));
}

#[test]
fn resume_goes_by_content() {
    let place = Place::new();
    place.write("a.txt", "a");
    place.write("b.txt", "b");
    let run = |more: &[&str]| {
        let command = ["--", "sh", "-c", "echo $1 >> ledger", "sh"];
        let args = [&["run", "-j1", "--files", "*.txt"], more, &command].concat();
        place.haul(&args).stderr
    };
    run(&[]);
    place.write("0.txt", "new, and first");
    place.write("b.txt", "another content");
    let told = run(&["--resume"]);
    assert!(told.contains("2 succeeded, 1 done before"), "{told}");
    assert_eq!(place.read("ledger"), "a.txt\nb.txt\n0.txt\nb.txt\n");
}

#[test]
fn what_is_no_longer_an_item_does_not_run_after_a_kill() {
    let place = Place::new();
    let script = "until test -e go; do sleep 0.05; done; echo $1 >> ledger";
    let run = ["run", "-j1", "--", "sh", "-c", script, "sh", ":::"];
    let mut child = place
        .command(&[&run[..], &["1", "2", "3"]].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("one runs", || {
        let list = place.haul(&["job", "list", "state:running", "--json"]);
        list.stdout.lines().count() == 1
    });
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    let resumed = ["run", "-j1", "--resume"];
    place.write("go", "");
    let ran = place.haul(&[&resumed[..], &run[2..], &["3"]].concat());
    assert!(ran.stderr.contains("1 succeeded"), "{ran:?}");
    // The first one's own process may have outlived the kill.
    let ledger = place.read("ledger");
    assert!(!ledger.contains('2') && ledger.contains('3'), "{ledger}");
}
