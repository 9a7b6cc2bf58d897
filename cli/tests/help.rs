//! The help of every command is what the golden files say. To accept a change, run with
//! `HAUL_GOLDEN=write` and look at the difference.

mod common;

use std::path::Path;

use common::Place;

const COMMANDS: &[&str] = &[
    "",
    "run",
    "worker",
    "job",
    "job push",
    "job pull",
    "job done",
    "job fail",
    "job extend",
    "job show",
    "job list",
    "job wait",
    "job logs",
    "job watch",
    "job edit",
    "job cancel",
    "job retry",
    "batch",
    "batch list",
    "batch show",
    "batch watch",
    "batch report",
    "batch cancel",
    "batch retry",
    "queue",
    "queue list",
    "queue show",
    "queue pause",
    "queue resume",
    "queue purge",
    "script",
    "script add",
    "script list",
    "script show",
    "script remove",
    "exporter",
    "doctor",
    "health",
    "bench",
    "schema",
    "completions",
];

#[test]
fn the_help_of_every_command_is_as_agreed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/help");
    let rewrite = std::env::var_os("HAUL_GOLDEN").is_some_and(|value| value == "write");
    let place = Place::new();
    let mut changed = Vec::new();
    for command in COMMANDS {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = place.ok(&args) + "\n";
        let name = if command.is_empty() {
            "haul".to_owned()
        } else {
            command.replace(' ', "-")
        };
        let path = golden.join(format!("{name}.txt"));
        if rewrite {
            std::fs::write(&path, &help).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != help {
            changed.push(name);
        }
    }
    assert!(
        changed.is_empty(),
        "the help of {changed:?} changed; see the head of this file"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    let place = Place::new();
    for args in [
        &["job", "lst"][..],
        &["--brokr", "x"],
        &["job", "push"],
        &["run", "--halt", "later"],
    ] {
        let ran = place.haul(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("--help"),
            "{ran:?}"
        );
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(Place::new().ok(&["completions", shell]).contains("haul"));
    }
}
