//! The same on RabbitMQ and Redis: workers elsewhere do the work.

use std::{env, io::BufReader, process::Stdio};

use nix::sys::signal::Signal;

use crate::{
    common::{Place, await_line, eventually, send, wait},
    lines,
};

/// The flags of a fleet of its own.
fn flags() -> Vec<String> {
    let server = |name: &str| {
        env::var(name)
            .unwrap_or_else(|_| panic!("{name} is not set: run tests with `tests/run -- [FILTER]`"))
    };
    let (broker, store) = (server("HAUL_TEST_AMQP"), server("HAUL_TEST_REDIS"));
    let id = format!("run-{:x}-{}", std::process::id(), fastrand());
    ["--broker", &broker, "--store", &store, "--namespace", &id]
        .map(str::to_owned)
        .to_vec()
}

fn fastrand() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

#[test]
fn a_fleet_does_the_work_and_a_killed_run_is_resumed() {
    let place = Place::new();
    let flags = flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let script = "test $1 -gt 2 && until test -e go; do sleep 0.05; done; \
                  echo $1 >> ledger; echo out $1";
    let run = |more: &[&str]| {
        let command = [
            "--", "sh", "-c", script, "sh", ":::", "1", "2", "3", "4", "5",
        ];
        let cwd = place.path("").display().to_string();
        let args = [&flags[..], &["run", "--cwd", &cwd], more, &command].concat();
        place.command(&args)
    };
    let mut child = run(&[]).stdout(Stdio::null()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    await_line(&mut told, "no worker serves queue `default`");
    let worker = [&flags[..], &["--queue", "default=2", "--allow-shell"]].concat();
    let worker = place.worker(&worker);
    eventually("two are done", || place.read("ledger").lines().count() == 2);
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    place.write("go", "");
    let resumed = run(&["--resume", "-k"])
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let told = String::from_utf8(resumed.stderr).unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{told}");
    // What a worker had in hand went on without the run.
    assert!(
        told.contains("slots of queue `default`") && told.contains("done before"),
        "{told}"
    );
    let ledger = place.read("ledger");
    assert_eq!(lines(&ledger), ["1", "2", "3", "4", "5"], "nothing twice");
    let fresh = run(&["-k"]).spawn().unwrap().wait_with_output().unwrap();
    let shown = String::from_utf8(fresh.stdout).unwrap();
    assert_eq!(shown, "out 1\nout 2\nout 3\nout 4\nout 5\n");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended(), Some(0));
}

#[test]
fn workers_that_may_not_run_programs_end_the_run_at_once() {
    let place = Place::new();
    let flags = flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let _worker = place.worker(&[&flags[..], &["--queue", "strict=1"]].concat());
    let run = [
        &flags[..],
        &[
            "run", "--queue", "strict", "--", "echo", ":::", "1", "2", "3",
        ],
    ];
    let mut child = place.command(&run.concat()).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    await_line(&mut told, "--allow-shell");
    assert_eq!(wait(&mut child), Some(3));
}
