//! The progress display, on a terminal of its own: `script` of util-linux makes one.

use std::{
    io::Read,
    process::{Command, Stdio},
};

use crate::common::{Place, wait};

/// Reads on until all words were seen.
fn await_words(from: &mut impl Read, words: &[&str]) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !words.iter().all(|word| text.contains(word)) {
        let count = from.read(&mut buffer).expect("a screen");
        assert_ne!(count, 0, "it ended without {words:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

#[test]
fn a_terminal_is_shown_states_and_running_items() {
    let place = Place::new();
    let haul = place.command(&[]);
    let program = haul.get_program().to_str().unwrap();
    let line = format!(
        "{program} run -v -j1 ::: 'echo first' 'until test -e go; do sleep 0.05; done; exit 1' true"
    );
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(place.path(""))
        .env("TERM", "xterm")
        .env_remove("HAUL_BROKER")
        .env_remove("HAUL_STORE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script`, of util-linux");
    let mut screen = child.stdout.take().unwrap();
    let shown = await_words(
        &mut screen,
        &["1 ok", "1 running", "1 queued", "1/3", "until test"],
    );
    assert!(
        shown.contains('\u{1b}') && shown.contains("first"),
        "{shown:?}"
    );
    place.write("go", "");
    let shown = await_words(&mut screen, &["2 succeeded, 1 dead", "failed"]);
    let rest = shown.rsplit("2 succeeded").next().unwrap();
    assert!(!rest.contains("running"), "the display is gone: {rest:?}");
    assert_eq!(wait(&mut child), Some(3));
}

#[test]
fn nothing_moves_a_cursor_in_a_pipe() {
    let ran = Place::new().haul(&["run", "-v", ":::", "sleep 0.6; echo a"]);
    let both = ran.stdout + &ran.stderr;
    assert!(!both.contains('\u{1b}') && !both.contains('\r'), "{both:?}");
}
