//! Where items come from, and where they go in a command.

use crate::{common::Place, lines};

#[test]
fn items_come_from_files_sorted() {
    let place = Place::new();
    for name in ["b.txt", "a.txt", "c.md"] {
        place.write(name, name);
    }
    let ran = place.haul(&["run", "-j1", "--files", "*.txt", "--", "cat"]);
    assert_eq!(ran.stdout, "a.txt\nb.txt\n", "{ran:?}");
}

#[test]
fn places_are_filled_and_nothing_is_quoted_or_split() {
    let place = Place::new();
    let out = place.ok(&[
        "run",
        "--",
        "echo",
        "{#}:{//}:{/}:{/.}:{.}",
        ":::",
        "d/a b.c",
    ]);
    assert_eq!(out, "1:d:a b.c:a b:d/a b");
    let out = place.ok(&["run", "--", "printf", "%s|", ":::", "it's $HOME `x` *"]);
    assert_eq!(out, "it's $HOME `x` *|");
}

#[test]
fn pieces_come_from_a_file_and_may_end_with_zero_bytes() {
    let place = Place::new();
    place.write("list", "a\0b\nc\0");
    let ran = place.haul(&["run", "-k", "-0", "-a", "list", "--", "echo", "[{}]"]);
    assert_eq!(ran.stdout, "[a]\n[b\nc]\n", "{ran:?}");
}

#[test]
fn without_a_command_items_are_lines_for_a_shell() {
    let out = Place::new().ok(&["run", "-k", ":::", "echo a b | wc -w", "echo $((1+2))"]);
    assert_eq!(lines(&out), ["2", "3"]);
}

#[test]
fn rows_have_columns() {
    let place = Place::new();
    place.write("u.csv", "id,to\n1,a b\n2,\"x, y\"\n");
    let ran = place.haul(&[
        "run",
        "-k",
        "--csv",
        "u.csv",
        "--",
        "echo",
        "{id}>{to}",
        "{#}",
    ]);
    assert_eq!(ran.stdout, "1>a b 1\n2>x, y 2\n", "{ran:?}");
    let json = "{\"id\": 1, \"to\": null}\n\n{\"to\": [2], \"id\": \"x\"}\n";
    let ran = place.haul_with(
        json,
        &["run", "-k", "--jsonl", "-", "--", "echo", "{id}{to}"],
    );
    assert_eq!(ran.stdout, "1\nx[2]\n", "{ran:?}");
}

/// Nothing may have been submitted: there is no file.
#[track_caller]
fn refused(place: &Place, args: &[&str], words: &[&str]) {
    let ran = place.haul(args);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "no `{word}`: {ran:?}");
    }
    assert!(!place.path("haul.db").exists(), "{args:?}");
}

#[test]
fn bad_rows_are_told_with_their_line_before_anything_is_submitted() {
    let place = Place::new();
    place.write("long.csv", "id,to\n1,a\n2,b,c\n");
    let run = ["run", "--csv", "long.csv", "--", "echo", "{id}"];
    refused(&place, &run, &["long.csv, line 3", "3 fields", "2 columns"]);
    place.write("twice.csv", "id,id\n1,a\n");
    refused(
        &place,
        &["run", "--csv", "twice.csv", "--", "echo", "{id}"],
        &["column 2", "`id`"],
    );
    place.write("ok.csv", "id,to\n1,a\n");
    refused(
        &place,
        &["run", "--csv", "ok.csv", "--", "echo", "{too}"],
        &["{too}", "id, to"],
    );
    refused(
        &place,
        &["run", "--csv", "ok.csv", "--", "echo"],
        &["where the columns go"],
    );
    place.write("bad.jsonl", "{\"id\": 1}\n\n{\"id\": }\n");
    let run = ["run", "--jsonl", "bad.jsonl", "--", "echo", "{id}"];
    refused(&place, &run, &["bad.jsonl, line 3", "column 8"]);
    place.write("other.jsonl", "{\"id\": 1}\n{\"it\": 1}\n");
    let run = ["run", "--jsonl", "other.jsonl", "--", "echo", "{id}"];
    refused(&place, &run, &["other.jsonl, line 2", "{id}"]);
    refused(
        &place,
        &["run", "--csv", "none.csv", "--", "echo", "{id}"],
        &["none.csv"],
    );
    refused(
        &place,
        &["run", "--csv", "ok.csv", "--files", "*", "--", "x"],
        &["--files", "--csv"],
    );
    refused(&place, &["run", "--halt", "soon", "x"], &["soon,fail=3"]);
}

#[test]
fn what_is_wrong_in_a_stream_stops_it_there() {
    let ran = Place::new().haul_with("{\"id\": 1}\n{\n", &["run", "--jsonl", "-", "echo", "{id}"]);
    assert_eq!((ran.code, &*ran.stdout), (Some(1), "1\n"), "{ran:?}");
    assert!(ran.stderr.contains("stdin, line 2"), "{ran:?}");
}

#[test]
fn another_task_takes_items_as_arguments_or_within_them() {
    let place = Place::new();
    let out = place.ok(&["run", "-k", "--task", "haul.echo", ":::", "{\"a\": 1}", "5"]);
    assert_eq!(out, "{\"a\": 1}\n5");
    place.write("u.csv", "id,to\n7,me\n");
    let args = "{\"url\": \"https://x/{id}\", \"n\": 5}";
    let out = place.ok(&["run", "--task", "haul.echo", "--csv", "u.csv", "--", args]);
    assert_eq!(out, "{\"n\":5,\"url\":\"https://x/7\"}");
    let fresh = Place::new();
    refused(
        &fresh,
        &["run", "--task", "haul.echo", ":::", "word"],
        &["item 1", "quotes"],
    );
}

#[test]
fn a_task_that_nobody_here_can_do_is_refused() {
    let ran = Place::new().haul(&["run", "--task", "email.send", ":::", "1"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--queue"), "{ran:?}");
}

#[test]
fn a_dry_run_prints_commands_and_runs_nothing() {
    let place = Place::new();
    let out = place.ok(&["run", "--dry-run", "--", "rm", "-rf", ":::", "a b", "it's"]);
    assert_eq!(out, "rm -rf 'a b'\nrm -rf 'it'\\''s'");
    assert!(!place.path("haul.db").exists());
}
