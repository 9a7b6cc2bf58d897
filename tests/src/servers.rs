//! Servers of a test's own, for tests that kill, stop or freeze them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A private server, with its port and its data for as long as this value lives.
///
/// Calls block, for up to some seconds: within a runtime that must go on meanwhile, put them in
/// [`tokio::task::spawn_blocking`].
#[derive(Debug)]
pub struct Server {
    kind: &'static str,
    dir: PathBuf,
    settings: Vec<String>,
    port: u16,
    // Removed after the server is stopped.
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// A RabbitMQ, with lines of `rabbitmq.conf` (`consumer_timeout=5000`). Takes 3 to 7 s.
    ///
    /// A quorum queue that is under a second old when its node is killed is ruined, on every
    /// version of RabbitMQ: wait a few seconds between the first declaration and [`Server::kill`].
    pub fn rabbitmq(settings: &[&str]) -> Self {
        Self::new("rabbitmq", settings)
    }

    /// A Redis that appends to a file, with lines of `redis.conf` (`maxmemory=10mb`).
    pub fn redis(settings: &[&str]) -> Self {
        Self::new("redis", settings)
    }

    /// A meeting place for nodes of a RabbitMQ cluster; they take it as `epmd=PORT`.
    pub fn epmd() -> Self {
        Self::new("epmd", &[])
    }

    /// A Sentinel that watches the Redis of `primary=PORT`, as `main`.
    pub fn sentinel(primary: &str) -> Self {
        Self::new("sentinel", &[primary])
    }

    fn new(kind: &'static str, settings: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Below the folder of `tests/run`, which also ends what a killed test left running.
        let (parent, temporary) = match env::var_os("HAUL_TEST_DIR") {
            Some(parent) => (PathBuf::from(parent), None),
            None => {
                let temporary = tempfile::tempdir().unwrap();
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("{kind}-{}-{number}", std::process::id()));
        let mut server = Self {
            kind,
            dir,
            settings: settings.iter().map(ToString::to_string).collect(),
            port: 0,
            _temporary: temporary,
        };
        server.start();
        server
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The name of a RabbitMQ as a node of a cluster.
    pub fn node(&self) -> String {
        format!("haul-test-{}@localhost", self.port)
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.url_at(&self.address())
    }

    /// Its URL by TLS, with a host's name and parameters (`?cacertfile=…`) of the test's choice.
    pub fn tls_url(&self, host: &str, parameters: &str) -> String {
        let url = self.url_at(&format!("{host}:{}", self.port + 3));
        let (scheme, rest) = url.split_once("://").unwrap();
        format!("{scheme}s://{rest}{parameters}")
    }

    /// Its URL when reached by another address, such as that of a [`crate::proxy::Proxy`].
    pub fn url_at(&self, address: &str) -> String {
        match self.kind {
            "rabbitmq" => format!("amqp://guest:guest@{address}/%2f"),
            _ => format!("redis://{address}/"),
        }
    }

    /// Starts it (again), with the data and on the port that it had.
    pub fn start(&mut self) {
        self.try_start().unwrap();
    }

    /// The same.
    ///
    /// # Errors
    /// When it does not start: what it said.
    pub fn try_start(&mut self) -> Result<(), String> {
        let port = self.port.to_string();
        let mut args = vec![self.kind, self.dir.to_str().unwrap(), &port];
        args.extend(self.settings.iter().map(String::as_str));
        let said = try_script(&args)?;
        let port = said.lines().find_map(|line| line.strip_prefix("port "));
        self.port = port.unwrap().parse().unwrap();
        Ok(())
    }

    /// SIGKILL, as in a crash.
    pub fn kill(&self) {
        script(&["kill", self.dir.to_str().unwrap()]);
    }

    /// Ends it in good order.
    pub fn stop(&self) {
        script(&["stop", self.dir.to_str().unwrap()]);
    }

    /// Freezes it: connections stay open, and nothing answers.
    pub fn pause(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
    }

    /// Ends a [`Server::pause`].
    pub fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Where all is that it owns.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `rabbitmqctl` against it.
    pub fn ctl(&self, args: &[&str]) -> String {
        script(&[&["ctl", self.dir.to_str().unwrap(), "-q"], args].concat())
    }

    fn pid(&self) -> Pid {
        let text = fs::read_to_string(self.dir.join("pid")).unwrap();
        Pid::from_raw(text.split(' ').next().unwrap().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not `stop`: a panic here, while another one unwinds, would hide it.
        let stopped = command(&["kill", self.dir.to_str().unwrap_or_default()]).output();
        if stopped.is_ok() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("servers"));
    command.args(args);
    command
}

fn script(args: &[&str]) -> String {
    try_script(args).unwrap()
}

fn try_script(args: &[&str]) -> Result<String, String> {
    let output = command(args).output().unwrap();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("tests/servers {args:?} failed: {errors}"));
    }
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// `rabbitmqctl` against the server that `tests/run` started.
///
/// # Panics
/// When tests run against a server that was given from outside.
pub fn rabbitmqctl(args: &[&str]) -> String {
    let dir = env::var("HAUL_TEST_AMQP_DIR").expect(
        "this test needs the RabbitMQ of tests/run: run it there, without HAUL_TEST_AMQP set",
    );
    script(&[&["ctl", dir.as_str(), "-q"], args].concat())
}
