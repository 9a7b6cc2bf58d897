//! What a person at a terminal sees, through a pseudo-terminal.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod common;

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use common::{Place, eventually, send, wait};
use nix::{
    pty::{Winsize, openpty},
    sys::signal::Signal,
};
use serde_json::json;

/// A command at a terminal of its own.
struct Terminal {
    child: Child,
    keys: File,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn run(place: &Place, words: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = place.command(words);
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .spawn()
            .unwrap();
        drop(command);
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writes = seen.clone();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error tells that nobody writes any more.
            while let Ok(size @ 1..) = screen.read(&mut piece) {
                writes.lock().unwrap().extend_from_slice(&piece[..size]);
            }
        });
        Self { child, keys, seen }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn shows(&self, text: &str) {
        let mut last = String::new();
        eventually(&format!("`{text}` on the terminal"), || {
            last = self.seen();
            last.contains(text)
        });
    }

    fn types(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
    }

    fn ended(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn push(place: &Place, count: usize, script: &str) {
    let args = json!({ "script": script }).to_string();
    for n in 0..count {
        let id = format!("j{n}");
        place.ok(&[
            "job",
            "push",
            "shell.run",
            "--args",
            &args,
            "--batch",
            "b",
            "--id",
            &id,
        ]);
    }
}

#[test]
fn a_watch_draws_a_bar_for_each_state_in_place_and_leaves_one_line() {
    let place = Place::new();
    push(&place, 4, "until test -e go; do sleep 0.05; done");
    let mut watch = Terminal::run(&place, &["batch", "watch", "b", "--interval", "50ms"]);
    watch.shows("b  4 jobs  0%");
    watch.shows(&format!("  queued     [{}]         4", "=".repeat(30)));
    let _worker = place.worker(&["--queue", "default=2"]);
    watch.shows("  running    [\u{1b}[36m===============               \u{1b}[0m]         2");
    place.write("go", "");
    assert_eq!(watch.ended(), Some(0));
    watch.shows("b: 4 jobs, 4 succeeded; 100% ended");
    let seen = watch.seen();
    assert!(seen.contains("\u{1b}[1A"), "redrawn in place: {seen:?}");
    let last = seen.rsplit("\u{1b}[").next().unwrap();
    assert!(
        last.contains("b: 4 jobs, 4 succeeded"),
        "the bars are gone: {seen:?}"
    );
}

#[test]
fn an_interrupted_watch_takes_its_bars_away_and_says_that_the_jobs_go_on() {
    let place = Place::new();
    push(&place, 1, "true");
    let mut watch = Terminal::run(&place, &["job", "watch", "b"]);
    watch.shows("queued     [");
    send(&watch.child, Signal::SIGINT);
    assert_eq!(watch.ended(), Some(130));
    watch.shows("the jobs go on");
    assert_eq!(place.show("j0")["state"], "queued");
}

#[test]
fn a_person_is_asked_before_many_jobs_are_cancelled() {
    let place = Place::new();
    push(&place, 7, "true");
    let mut no = Terminal::run(&place, &["job", "cancel", "batch:b"]);
    no.shows("and 2 more");
    no.shows("cancel 7 jobs? [y/N]");
    no.types("n\n");
    assert_eq!(no.ended(), Some(1));
    no.shows("nothing was done");
    assert_eq!(place.show("j0")["state"], "queued");
    let mut yes = Terminal::run(&place, &["job", "cancel", "batch:b"]);
    yes.shows("[y/N]");
    yes.types("y\n");
    assert_eq!(yes.ended(), Some(0));
    yes.shows("7 jobs; 7 cancelled");
    assert_eq!(place.show("j6")["state"], "cancelled");
}
