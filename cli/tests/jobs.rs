//! `haul job`, `haul worker`, `haul queue` and `haul doctor` over one file, from outside.

mod common;

use common::{Place, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn a_job_goes_round_from_push_to_result() {
    let place = Place::new();
    let id = place.ok(&[
        "job",
        "push",
        "haul.echo",
        "--args",
        r#"{"n": 1}"#,
        "--tag",
        "eu",
    ]);
    let worker = place.worker(&[]);
    let result = place.json(&["job", "wait", &id, "--timeout", "20s"]);
    assert_eq!(result, json!({"n": 1}));
    let job = place.show(&id);
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["tags"], json!(["eu"]));
    assert_eq!(job["error"], Value::Null);
    assert_eq!(job["attempts"][0]["outcome"], "succeeded");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended(), Some(0), "a clean drain");
}

#[test]
fn every_key_of_a_job_is_there_even_when_it_is_null() {
    let place = Place::new();
    let id = place.ok(&[
        "job",
        "push",
        "haul.echo",
        "--delay",
        "1h",
        "--timeout",
        "30s",
    ]);
    let job = place.show(&id);
    let keys: Vec<&str> = job
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for key in [
        "id",
        "task",
        "queue",
        "lane",
        "state",
        "reason",
        "attempt",
        "max_attempts",
        "args",
        "result",
        "error",
        "progress",
        "tags",
        "batch",
        "created_at",
        "started_at",
        "finished_at",
        "attempts",
        "due_at",
        "deadline",
        "fence",
        "timeout_ms",
        "backoff",
        "cancel_requested",
        "body_base64",
    ] {
        assert!(keys.contains(&key), "{key} is missing in {keys:?}");
    }
    assert_eq!(job["state"], "scheduled");
    assert_eq!(job["timeout_ms"], 30_000);
    assert_eq!(job["backoff"], "exponential(1s,2,1h)");
    assert!(job["due_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_running_attempt_is_shown_with_its_log_so_far() {
    let place = Place::new();
    let script = json!({"script": "echo halfway; sleep 60"}).to_string();
    let id = place.ok(&["job", "push", "shell.run", "--args", &script]);
    let _worker = place.worker(&[]);
    eventually("the log is there", || {
        let attempt = &place.show(&id)["attempts"][0];
        attempt["log"]
            .as_str()
            .is_some_and(|log| log.contains("halfway"))
    });
    let attempt = &place.show(&id)["attempts"][0];
    assert_eq!(
        (&attempt["outcome"], &attempt["finished_at"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(place.haul(&["job", "cancel", &id]).code, Some(0));
    let waited = place.haul(&["job", "wait", &id, "--timeout", "20s", "--json"]);
    assert_eq!(waited.code, Some(3), "{waited:?}");
    assert!(
        waited.stdout.contains(r#""state":"cancelled""#),
        "{waited:?}"
    );
}

#[test]
fn a_job_that_dies_is_told_and_can_be_retried() {
    let place = Place::new();
    let script =
        json!({"script": "test -e mended || { echo 'no good' >&2; exit 65; }"}).to_string();
    let _worker = place.worker(&["--queue", "build=2"]);
    let args = [
        "job",
        "push",
        "shell.run",
        "--queue",
        "build",
        "--args",
        &script,
        "--wait",
        "20s",
    ];
    let pushed = place.haul(&args);
    assert_eq!(pushed.code, Some(3), "{pushed:?}");
    assert!(pushed.stderr.contains("no good"), "{pushed:?}");
    let id = pushed.stdout.trim();
    assert_eq!(place.show(id)["reason"], "fatal");
    place.write("mended", "");
    assert!(place.ok(&["job", "retry", id]).contains("queued again"));
    place.ok(&["job", "wait", id, "--timeout", "20s"]);
    assert_eq!(
        place.haul(&["job", "retry", id]).code,
        Some(6),
        "it succeeded"
    );
    assert_eq!(
        place.haul(&["job", "cancel", id]).code,
        Some(6),
        "it succeeded"
    );
}

#[test]
fn a_wait_that_is_too_short_ends_with_124_and_an_unknown_job_with_5() {
    let place = Place::new();
    let id = place.ok(&["job", "push", "haul.echo"]);
    assert_eq!(
        place.haul(&["job", "wait", &id, "--timeout", "100ms"]).code,
        Some(124)
    );
    let unknown: [&[&str]; 4] = [&["show"], &["wait"], &["cancel"], &["retry"]];
    for words in unknown {
        let ran = place.haul(&[&["job"], words, &["nobody"]].concat());
        assert_eq!(ran.code, Some(5), "{words:?}: {ran:?}");
    }
}

#[test]
fn an_id_belongs_to_one_job() {
    let place = Place::new();
    let push =
        |args: &str| place.haul(&["job", "push", "haul.echo", "--id", "one", "--args", args]);
    assert_eq!(push("1").stdout, "one\n");
    let again = push("1");
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "one\n"));
    assert!(again.stderr.contains("submitted before"), "{again:?}");
    assert_eq!(push("2").code, Some(6));
}

#[test]
fn arguments_come_from_a_file_or_stdin_and_must_be_json() {
    let place = Place::new();
    place.write("args.json", "{\"from\": \"file\"}\n");
    let id = place.ok(&["job", "push", "haul.echo", "--args", "@args.json"]);
    assert_eq!(place.show(&id)["args"], json!({"from": "file"}));
    let pushed = place.haul_with(
        "[1, 2]",
        &["job", "push", "haul.echo", "--args", "-", "--json"],
    );
    let id = serde_json::from_str::<Value>(&pushed.stdout).unwrap()["id"].clone();
    assert_eq!(place.show(id.as_str().unwrap())["args"], json!([1, 2]));
    let wrong = place.haul(&["job", "push", "haul.echo", "--args", "{\n  hello: 1}"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.starts_with("haul: ") && wrong.stderr.contains("line 2, column 3"),
        "{wrong:?}"
    );
}

#[test]
fn a_list_is_filtered_and_goes_on_where_it_ended() {
    let place = Place::new();
    for n in 0..5 {
        place.ok(&[
            "job",
            "push",
            "haul.echo",
            "--queue",
            "mail",
            "--id",
            &format!("j{n}"),
        ]);
    }
    place.ok(&["job", "push", "other.task"]);
    let all = place.ok(&["job", "list", "queue:mail", "--all", "--json"]);
    assert_eq!(all.lines().count(), 5);
    let first = place.haul(&["job", "list", "queue:mail", "--limit", "2"]);
    assert!(
        first.stdout.contains("j4") && !first.stdout.contains("j2"),
        "{first:?}"
    );
    let words: Vec<&str> = first.stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "--after").unwrap();
    let cursor = words[at + 1].trim_end_matches(',');
    let rest = place.ok(&["job", "list", "queue:mail", "--after", cursor, "--json"]);
    assert_eq!(rest.lines().count(), 3);
    let wrong = place.haul(&["job", "list", "colour:red"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("colour"), "{wrong:?}");
}

#[test]
fn many_are_cancelled_only_with_a_yes() {
    let place = Place::new();
    for n in 0..7 {
        place.ok(&[
            "job",
            "push",
            "haul.echo",
            "--queue",
            "mail",
            "--id",
            &format!("j{n}"),
        ]);
    }
    let cancel = |more: &[&str]| place.haul(&[&["job", "cancel", "queue:mail"], more].concat());
    for (more, code) in [(&[][..], 2), (&["--dry-run"], 0)] {
        let ran = cancel(more);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            ran.stderr.contains("7 jobs") && ran.stderr.contains("and 2 more"),
            "{ran:?}"
        );
        assert_eq!(place.show("j0")["state"], "queued");
    }
    assert_eq!(cancel(&["--yes"]).stdout, "7 jobs; 7 cancelled\n");
    assert_eq!(place.show("j0")["state"], "cancelled");
}

#[test]
fn queues_are_counted_and_the_doctor_names_what_nobody_serves() {
    let place = Place::new();
    place.ok(&[
        "job",
        "push",
        "haul.echo",
        "--queue",
        "mail",
        "--lane",
        "high",
    ]);
    let queue = place.json(&["queue", "list", "--json"]);
    assert_eq!(queue["queue"], "mail");
    assert_eq!(queue["states"]["queued"], 1);
    assert_eq!(queue["ready"]["high"], 1);
    assert_eq!(queue["workers"], 0);
    let report = place.json(&["doctor", "--json"]);
    assert!(report.to_string().contains("mail (1)"), "{report}");
    let _worker = place.worker(&["--queue", "mail=3"]);
    let queue = place.json(&["queue", "list", "--json"]);
    assert_eq!((&queue["workers"], &queue["slots"]), (&json!(1), &json!(3)));
}

#[test]
fn settings_are_read_from_the_file_and_its_mistakes_are_named() {
    let place = Place::new();
    place.write("haul.toml", "broker = \"sqlite:elsewhere.db\"\n");
    place.ok(&["job", "push", "haul.echo"]);
    assert!(place.path("elsewhere.db").exists() && !place.path("haul.db").exists());
    place.write("haul.toml", "\nbrokr = \"amqp://me:secret@host\"\n");
    let ran = place.haul(&["job", "list"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("line 2") && ran.stderr.contains("`brokr`"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
}

#[test]
fn a_backend_that_is_not_there_ends_with_69_and_no_password_is_shown() {
    let place = Place::new();
    let store = "redis://:secret@127.0.0.1:1";
    let broker = "amqp://me:secret@127.0.0.1:1";
    for words in [&["job", "list"][..], &["doctor"]] {
        let ran = place.haul(&[&["--broker", broker, "--store", store], words].concat());
        assert_eq!(ran.code, Some(69), "{ran:?}");
        assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
    }
    let doctor = place.haul(&["--broker", broker, "--store", store, "doctor"]);
    let told: Vec<_> = doctor
        .stdout
        .lines()
        .filter(|line| line.starts_with("broken"))
        .collect();
    assert_eq!(told.len(), 2, "each is looked at: {doctor:?}");
    assert!(
        told[0].contains("HAUL_BROKER") && told[1].contains("HAUL_STORE"),
        "{told:?}"
    );
    assert!(
        !doctor.stdout.contains("seen"),
        "nobody could be asked: {doctor:?}"
    );
    assert_eq!(
        place.haul(&["--broker", broker, "job", "list"]).code,
        Some(2),
        "no store"
    );
}

/// As within a job of a fleet, which is not told where the fleet is.
#[test]
fn a_push_within_a_job_makes_no_new_file() {
    let place = Place::new();
    let within = |words: &[&str]| {
        place
            .command(words)
            .env("HAUL_JOB_ID", "outer")
            .output()
            .unwrap()
    };
    let ran = within(&["job", "push", "haul.echo"]);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("within job outer"),
        "{ran:?}"
    );
    assert!(!place.path("haul.db").exists());
    place.ok(&["job", "push", "haul.echo"]);
    assert!(
        within(&["job", "push", "haul.echo"]).status.success(),
        "a file that is there"
    );
    assert!(
        within(&["job", "push", "haul.echo", "--broker", "sqlite:new.db"])
            .status
            .success()
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.ok(&["job", "push", "haul.echo"]);
    let mut child = place.command(&["job", "list", "--all"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
}
