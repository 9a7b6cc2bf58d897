//! Shell jobs from outside: real process trees, what they leave behind, what they may and may not.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::{fs, os::unix::process::CommandExt, path::Path};

use common::{Place, Worker, eventually};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

/// Pushes a shell job, which gets one attempt unless it says.
fn push(place: &Place, args: &Value, more: &[&str]) -> String {
    place.push("shell.run", args, more)
}

/// Pushes a job, and waits for what it returns.
fn output(place: &Place, args: &Value) -> Value {
    let job = place.ended(&push(place, args, &[]));
    assert_eq!(job["state"], "succeeded", "{job}");
    job["result"].clone()
}

/// Pushes a job that has to end dead; why.
fn refused(place: &Place, args: &Value) -> String {
    let job = place.ended(&push(place, args, &["--attempts", "3"]));
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("dead"), &json!(1)),
        "{job}"
    );
    job["error"].as_str().unwrap().to_owned()
}

/// What a file says, once something wrote it.
fn said(place: &Place, name: &str) -> String {
    eventually(&format!("the file {name}"), || {
        place.read(name).ends_with('\n')
    });
    place.read(name).trim().to_owned()
}

fn pid(place: &Place, name: &str) -> Pid {
    Pid::from_raw(said(place, name).parse().unwrap())
}

/// Whether it runs: one that has ended, and was not collected yet, does not.
fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// A tree: a child in its group, one that left for a session of its own, a grandchild of that. All
/// but the program itself do not listen to SIGTERM.
const TREE: &str = "
trap '' TERM
sleep 300 & echo $! > child
setsid sh -c 'echo $$ > stray; sleep 300 & echo $! > grandchild; wait' &
echo $HAUL_CHECKPOINT > checkpoint
trap - TERM
wait";

fn tree(place: &Place) -> [Pid; 3] {
    ["child", "stray", "grandchild"].map(|name| pid(place, name))
}

fn all_end(pids: [Pid; 3]) {
    eventually("the whole tree ends", || !pids.into_iter().any(runs));
}

#[test]
fn nothing_is_left_of_a_cancelled_job() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let id = push(&place, &json!({"script": TREE}), &[]);
    let pids = tree(&place);
    assert_eq!(place.haul(&["job", "cancel", &id]).code, Some(0));
    assert_eq!(place.ended(&id)["state"], "cancelled");
    all_end(pids);
}

#[test]
fn nothing_is_left_of_a_job_that_timed_out() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let id = push(&place, &json!({"script": TREE}), &["--timeout", "1s"]);
    let pids = tree(&place);
    assert_eq!(place.ended(&id)["attempts"][0]["outcome"], "timed_out");
    all_end(pids);
}

#[test]
fn a_program_that_listens_has_the_time_to_end_itself_also_outside_its_group() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let script = "
        trap 'echo term >> terms' TERM
        setsid sh -c 'trap \"sleep 1; echo done > said; exit\" TERM; echo $$ > stray
            while :; do sleep 0.1; done' &
        wait; wait";
    let id = push(&place, &json!({"script": script}), &[]);
    let stray = pid(&place, "stray");
    place.ok(&["job", "cancel", &id]);
    place.ended(&id);
    assert!(!runs(stray));
    assert_eq!(place.read("said"), "done\n");
    assert_eq!(place.read("terms"), "term\n", "a second one may mean more");
}

/// A worker in a process group of its own, as a shell starts it in the foreground.
fn in_foreground(place: &Place) -> (Worker, Pid) {
    let mut command = place.command(&["worker"]);
    let worker = Worker::start(command.process_group(0));
    let group = Pid::from_raw(i32::try_from(worker.id()).unwrap());
    (worker, group)
}

#[test]
fn nothing_is_left_of_a_killed_worker_even_after_ctrl_c() {
    let place = Place::new();
    let (worker, group) = in_foreground(&place);
    push(&place, &json!({"script": TREE}), &[]);
    let pids = tree(&place);
    let checkpoint = said(&place, "checkpoint");
    let dir = Path::new(&checkpoint).parent().unwrap().parent().unwrap();
    assert!(dir.exists());
    // All of the group hear it. The worker drains, and so does not end.
    killpg(group, Signal::SIGINT).unwrap();
    assert!(pids.into_iter().all(runs));
    worker.signal(Signal::SIGKILL);
    all_end(pids);
    eventually("its directory is gone", || !dir.exists());
}

#[test]
fn what_an_ended_job_left_on_purpose_outlives_its_worker() {
    let place = Place::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let worker = place.worker(&[]);
        // It ends once the other one has left its group.
        let script = "rm -f daemon; setsid sh -c 'echo $$ > daemon; exec sleep 300 >&- 2>&-' &
            echo $HAUL_CHECKPOINT > checkpoint; until [ -s daemon ]; do sleep 0.01; done";
        output(&place, &json!({"script": script}));
        let (daemon, checkpoint) = (pid(&place, "daemon"), said(&place, "checkpoint"));
        worker.signal(signal);
        worker.ended();
        let dir = Path::new(&checkpoint).parent().unwrap().parent().unwrap();
        eventually("the watcher is done", || !dir.exists());
        assert!(runs(daemon), "after {signal}");
        kill(daemon, Signal::SIGKILL).unwrap();
    }
}

#[test]
fn a_flood_of_output_is_read_to_its_end_and_its_tail_kept() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let script = "yes 0123456789 | head -n 1000000; printf last; head -c 100000 /dev/zero >&2";
    let result = output(&place, &json!({"script": script}));
    let stdout = result["stdout"].as_str().unwrap();
    assert!(stdout.ends_with("0123456789\nlast") && stdout.len() <= 64 * 1024);
    let stderr = result["stderr"].as_str().unwrap();
    assert!(stderr.ends_with('\0') && stderr.len() <= 16 * 1024);
}

#[test]
fn limits_hold_for_the_job() {
    let place = Place::new();
    place.write("haul.toml", "[shell]\nopen_files = 50\nmemory = '2GiB'");
    let _worker = place.worker(&[]);
    let args = json!({
        "command": ["sh", "-c", "ulimit -n; ulimit -v; ulimit -t"],
        "limits": {"open_files": 70, "memory_bytes": 268_435_456, "cpu_s": 7},
    });
    assert_eq!(output(&place, &args)["stdout"], "50\n262144\n7\n");
    let limited = |command: Value, limits: Value| {
        let args = json!({"command": command, "limits": limits});
        let job = place.ended(&push(&place, &args, &[]));
        assert_eq!(job["state"], "dead", "{job}");
        job["error"].as_str().unwrap().to_owned()
    };
    let spin = json!(["sh", "-c", "while :; do :; done"]);
    let error = limited(spin, json!({"cpu_s": 1}));
    assert_eq!(error, "killed by SIGXCPU");
    let error = limited(json!(["yes"]), json!({"output_bytes": 1_000_000}));
    assert!(error.contains("more output than its limit"), "{error}");
    let hoard = json!([
        "sh",
        "-c",
        "head -c 100000000 /dev/zero | tail -c 100000000 >/dev/null"
    ]);
    let error = limited(hoard, json!({"memory_bytes": 50_000_000}));
    assert!(error.starts_with("exit code "), "{error}");
    let missing = limited(json!(["no-such-program"]), json!({"cpu_s": 5}));
    assert!(missing.starts_with("exit code 127"), "{missing}");
}

#[test]
fn jobs_see_what_is_listed_of_the_worker_s_environment() {
    let place = Place::new();
    place.write("haul.toml", "[shell]\nenv = ['PATH', 'SEEN_*']");
    let mut command = place.command(&["worker"]);
    command
        .env("SEEN_A", "a")
        .env("HIDDEN", "h")
        .env("HAUL_STORE", "");
    let _worker = Worker::start(&mut command);
    let args = json!({"command": ["env"], "env": {"OWN": "o", "HAUL_MARK": "forged"}});
    let result = output(&place, &args);
    let env: Vec<&str> = result["stdout"].as_str().unwrap().lines().collect();
    let names: Vec<&str> = env
        .iter()
        .map(|line| line.split('=').next().unwrap())
        .collect();
    for name in ["PATH", "SEEN_A", "OWN", "HAUL_JOB_ID", "HAUL_CHECKPOINT"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for name in ["HIDDEN", "HAUL_STORE", "HOME"] {
        assert!(!names.contains(&name), "{name} in {names:?}");
    }
    assert!(!env.contains(&"HAUL_MARK=forged"), "{env:?}");
}

#[test]
fn a_worker_can_be_limited_to_programs() {
    let place = Place::new();
    let _worker = place.worker(&["--allow-program", "echo", "--allow-program", "/bin/cat"]);
    assert_eq!(
        output(&place, &json!({"command": ["echo", "a"]}))["stdout"],
        "a\n"
    );
    let cat = json!({"command": ["/bin/cat"], "stdin": "b"});
    assert_eq!(output(&place, &cat)["stdout"], "b");
    for (args, word) in [
        (json!({"command": ["touch", "x"]}), "`touch`"),
        (json!({"command": ["./echo", "x"]}), "`./echo`"),
        (json!({"script": "echo x"}), "a `script`"),
        (
            json!({"command": ["echo"], "env": {"PATH": "/tmp"}}),
            "`PATH`",
        ),
    ] {
        let error = refused(&place, &args);
        assert!(error.contains(word), "{error}");
    }
    let id = place.push("script.run", &json!({"name": "x"}), &[]);
    let job = place.ended(&id);
    assert_eq!(job["reason"], "rejected", "{job}");
}

#[test]
fn what_cannot_be_allowed_is_told_before_anything_runs() {
    let place = Place::new();
    for (args, words) in [
        (&["--allow-program", "env"][..], "say it twice"),
        (&["--allow-program", "no-such-program"], "no-such-program"),
        (&["--allow-program", "./x"], "./x"),
        (
            &["--allow-program", "echo", "--allow-shell"],
            "cannot be used with",
        ),
    ] {
        let ran = place.haul(&[&["worker"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    let _worker = place.worker(&["--allow-program", "env", "--allow-program", "env"]);
    output(&place, &json!({"command": ["env", "true"]}));
}

#[test]
fn jobs_run_as_another_user_where_that_is_possible() {
    let place = Place::new();
    place.write("haul.toml", "[shell]\nuser = 'nobody'");
    if !nix::unistd::Uid::effective().is_root() {
        let ran = place.haul(&["worker"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("only root can"), "{ran:?}");
        return;
    }
    let _worker = place.worker(&[]);
    // The working directory of this test is closed to others.
    let script = "id -un; echo $HOME; [ -s $HAUL_CHECKPOINT ] && cat $HAUL_CHECKPOINT && exit 0
        echo kept > $HAUL_CHECKPOINT; exit 1";
    let args = json!({"script": script, "cwd": "/"});
    let more = ["--attempts", "2", "--backoff", "fixed(10ms)"];
    let job = place.ended(&push(&place, &args, &more));
    let stdout = job["result"]["stdout"].as_str().unwrap();
    assert!(
        stdout.starts_with("nobody\n") && stdout.ends_with("kept\n"),
        "{stdout}"
    );
    let link = "ln -s /etc/shadow $HAUL_CHECKPOINT; exit 1";
    let job = place.ended(&push(&place, &json!({"script": link, "cwd": "/"}), &[]));
    let error = job["error"].as_str().unwrap();
    assert!(error.contains("checkpoint not saved"), "{error}");
}

#[test]
fn a_checkpoint_comes_back_also_after_its_worker_was_killed() {
    let place = Place::new();
    let worker = place.worker(&[]);
    let script = "if [ -e $HAUL_CHECKPOINT ]; then cat $HAUL_CHECKPOINT; exit; fi
        printf 'row 7\\377' > $HAUL_CHECKPOINT; echo > started; sleep 300";
    let more = ["--attempts", "2", "--backoff", "fixed(10ms)"];
    let id = push(&place, &json!({"script": script}), &more);
    eventually("it is saved", || {
        let db = place.path("haul.db");
        let db = rusqlite::Connection::open(db).unwrap();
        db.query_row("SELECT count(*) FROM saves", [], |row| row.get(0)) == Ok(1)
    });
    worker.signal(Signal::SIGKILL);
    worker.ended();
    let _worker = place.worker(&[]);
    let job = place.ended(&id);
    assert_eq!(job["result"]["stdout"], "row 7\u{fffd}", "{job}");
}

#[test]
fn a_checkpoint_that_is_too_large_is_told() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let script = "head -c 70000 /dev/zero > $HAUL_CHECKPOINT; exit 1";
    let job = place.ended(&push(&place, &json!({"script": script}), &[]));
    let error = job["error"].as_str().unwrap();
    let expected = "exit code 1; checkpoint not saved: the checkpoint is 70000 bytes, the limit";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn progress_and_result_are_taken_out_of_the_output() {
    let place = Place::new();
    let _worker = place.worker(&[]);
    let script = "echo a; echo '::progress 3/10 rows'; echo '::result {\"rows\": 3}'; printf b";
    let job = place.ended(&push(&place, &json!({"script": script}), &[]));
    assert_eq!(job["result"]["stdout"], "a\nb");
    assert_eq!(job["result"]["result"], json!({"rows": 3}));
    assert_eq!(job["progress"]["done"], 3, "{job}");
    assert_eq!(job["progress"]["message"], "rows");
    assert_eq!(job["attempts"][0]["log"], "a\nb\n");
    let error = refused(&place, &json!({"script": "echo '::result {rows: 3}'"}));
    assert!(error.contains("not JSON: column 2"), "{error}");
}
