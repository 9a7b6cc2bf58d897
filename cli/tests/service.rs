//! What those count on who run `haul` as a service: secrets in files, systemd's words, health checks.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::net::UnixDatagram,
    process::Child,
    thread,
};

use common::{Place, Ran, send, wait};
use nix::sys::signal::Signal;

fn with_env(place: &Place, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = place.command(args);
    command.envs(env.iter().copied());
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_url_may_stand_in_a_file() {
    let place = Place::new();
    place.write("secret", "sqlite:other.db\n");
    let env = [("HAUL_BROKER_FILE", "secret")];
    let ran = with_env(&place, &["job", "push", "haul.echo"], &env);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(place.path("other.db").exists() && !place.path("haul.db").exists());
}

#[test]
fn a_secret_that_is_none_is_wrong_usage_and_not_shown() {
    let place = Place::new();
    place.write("two", "amqp://me:hidden@host\namqp://me:hidden@other\n");
    place.write("empty", "\n");
    place.write("one", "sqlite:haul.db");
    for (env, says) in [
        (vec![("HAUL_STORE_FILE", "missing")], "HAUL_STORE_FILE"),
        (vec![("HAUL_BROKER_FILE", "two")], "one line"),
        (vec![("HAUL_BROKER_FILE", "empty")], "one line"),
        (
            vec![("HAUL_BROKER_FILE", "one"), ("HAUL_BROKER", "sqlite:x.db")],
            "both set",
        ),
    ] {
        let ran = with_env(&place, &["queue", "list"], &env);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
        assert!(!ran.stderr.contains("hidden"), "{ran:?}");
    }
}

/// A worker that systemd, played by `socket`, has started.
fn notifying(place: &Place, watchdog_us: &str) -> (UnixDatagram, Child) {
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut command = place.command(&["worker", "--queue", "default=2"]);
    command.env("NOTIFY_SOCKET", &path);
    command.env("WATCHDOG_USEC", watchdog_us);
    let mut child = command.spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    thread::spawn(move || std::io::copy(&mut BufReader::new(stderr), &mut std::io::sink()));
    (socket, child)
}

fn await_word(socket: &UnixDatagram, word: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let found = said.lines().any(|line| line == word);
        heard.push(said);
        if found {
            return heard;
        }
    }
}

#[test]
fn systemd_hears_ready_alive_and_stopping() {
    let place = Place::new();
    let (socket, mut child) = notifying(&place, "300000");
    let heard = await_word(&socket, "READY=1").concat();
    assert!(heard.contains("STATUS=consuming from default"), "{heard}");
    await_word(&socket, "WATCHDOG=1");
    await_word(&socket, "WATCHDOG=1");
    send(&child, Signal::SIGTERM);
    await_word(&socket, "STOPPING=1");
    assert_eq!(wait(&mut child), Some(0));
}

/// Answers one request after another with these lines.
fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut request).unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            // What is left unread would reset the connection.
            let mut header = String::new();
            while header != "\r\n" {
                header.clear();
                reader.read_line(&mut header).unwrap();
            }
            let _ = write!(stream, "HTTP/1.1 {status}\r\n\r\n{path} {body}\n");
        }
    });
    address
}

#[test]
fn health_is_what_the_process_says_of_itself() {
    let place = Place::new();
    let well = answering("200 OK", "consuming");
    assert_eq!(
        place.ok(&["health", "--address", &well]),
        "/readyz consuming"
    );
    let live = place.json(&["health", "--live", "--address", &well, "--json"]);
    assert_eq!(live["answer"], "/livez consuming");

    let unwell = answering("503 Service Unavailable", "store away");
    let ran = place.haul(&["health", "--address", &unwell]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert_eq!(ran.stdout.trim(), "/readyz store away");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let ran = place.haul(&["health", "--address", &address]);
    assert_eq!(ran.code, Some(69), "{ran:?}");
}
