//! What people write at the command line, and the files that it reads.

use haul::door;

use super::{Target, Verdict, text};

/// Words, apart from each other by a blank.
const COMMANDS: &[&str] = &[
    "run -j4 --halt soon,fail=10% -- sha256sum {} ::: a.txt b.txt",
    "worker --queue mail=8 --grace 30s --listen 127.0.0.1:9464 --http-allow 10.0.0.0/8",
    "job push email.send --csv users.csv --args {} --delay 5m --deadline 1h --backoff fixed(3s)",
    "job push --jsonl - --envelope --at 2027-01-31T09:30:00Z --tag eu --lane high",
    "job cancel state:queued age:>1h --rate 100/s --dry-run --json",
    "exporter --objective mail=30s --canary default --canary-every 1m --once",
    "batch list --json --limit 7",
    "job list --help",
];
/// A template on the first line, then rows.
const CSV: &[&str] = &[
    "{\"to\":\"{email}\",\"n\":\"{id:json}\"}\nemail,id\na@b,7\n\"c, d\",8\n",
    "[\"{{{id}}}\"]\nid\n1\n2,3\n\"x\ny\"\n",
    "{}\n id , b\r\n1,\"2\"\r\n",
];
const JSONL: &[&str] = &[
    "{\"task\":\"email.send\",\"args\":{\"a\":[1]},\"lane\":\"low\",\"attempts\":3}\n{\"task\":1}\n",
    "\u{feff}{\"task\":\"t\",\"delay\":\"5m\",\"at\":null,\"tags\":[\"a\"],\"backoff\":\"fixed(3s)\"}\n",
    "{\"task\":\"t\",\"deadline\":\"1h\",\"timeout\":\"1s\",\"retention\":\"1d\",\"batch\":\"b\",\"id\":\"x\"}",
];
/// The words of a command on the first line, then items.
const ITEMS: &[&str] = &[
    "convert {name} {.} {//}/{#}.png\nname,size\na.jpg,7\nb,\"8\"\n",
    "curl https://one.example/{id} {/.}\n{\"id\":7}\n{\"id\":\"a b\",\"x\":[1]}\n",
    "echo {}\n\"text\"\n7\n",
];

pub(super) fn targets() -> Vec<Target> {
    let target = Target::of_text;
    let of_rows: &[&str] = &[
        ",",
        "\n",
        "\"",
        "{",
        "}",
        "{id}",
        ":json}",
        "\r\n",
        "null",
        "\"task\":",
        "[",
        ":",
    ];
    vec![
        target(
            "command-line",
            5000,
            COMMANDS,
            &[
                " ", " -- ", " --", "=", ":::", "--help", "%", "/", "--json", "@", "-",
            ],
            command,
        ),
        target("push-csv", 10_000, CSV, of_rows, csv),
        target("push-jsonl", 10_000, JSONL, of_rows, jsonl),
        target("run-items", 10_000, ITEMS, of_rows, items),
    ]
}

fn command(input: &[u8]) -> Verdict {
    match door::command_line(text(input).split(' ')) {
        Ok(said) => {
            assert!(!said.is_empty());
            Verdict::Accepted
        }
        Err(why) => {
            // It may repeat what was written, which can be long.
            assert!(!why.is_empty());
            Verdict::Refused
        }
    }
}

/// What stands on the first line, and all below.
fn first_line(input: &[u8]) -> (String, Vec<u8>) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (first, rest) = input.split_at(end.unwrap_or(input.len()));
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    (text(first).into_owned(), rest.to_vec())
}

fn csv(input: &[u8]) -> Verdict {
    let (args, rows) = first_line(input);
    read(Some(&args), rows)
}

fn jsonl(input: &[u8]) -> Verdict {
    read(None, input.to_vec())
}

/// Rows are jobs that can be sent, or wrong for a reason, in the order of the file.
fn read(args: Option<&str>, rows: Vec<u8>) -> Verdict {
    let Ok(rows) = door::rows(args, rows) else {
        return Verdict::Refused;
    };
    assert!(rows.is_sorted_by_key(|(line, _)| *line));
    for (_, row) in &rows {
        match row {
            Ok(job) => job.spec.validate().expect("a job that can be sent"),
            Err(why) => assert!(!why.is_empty()),
        }
    }
    match rows.iter().any(|(_, row)| row.is_ok()) {
        true => Verdict::Accepted,
        false => Verdict::Refused,
    }
}

fn items(input: &[u8]) -> Verdict {
    let (command, items) = first_line(input);
    let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let counts = [true, false].map(|is_csv| door::items(is_csv, items.clone(), &words));
    match counts.iter().any(|count| matches!(count, Ok(1..))) {
        true => Verdict::Accepted,
        false => Verdict::Refused,
    }
}
