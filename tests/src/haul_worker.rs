//! `haul worker` in a process of its own, and what it logs.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{
    fleet::{until, within},
    site::Site,
};

/// Killed when dropped.
#[derive(Debug)]
pub struct HaulWorker {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

/// `program` as a command of this site, untouched by the settings of whoever runs the tests.
pub fn command(program: impl AsRef<Path>, site: &Site) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in std::env::vars() {
        if name.starts_with("HAUL_") || name.starts_with("OTEL_") || name.starts_with("TRACE") {
            command.env_remove(name);
        }
    }
    command
        .envs(site.env())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

impl HaulWorker {
    /// Starts `haul worker` as `command` has it, and waits until it is ready.
    pub async fn ready(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = said.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push(line);
            }
        });
        let worker = Self {
            child,
            said,
            reader,
        };
        until("the worker to be ready", || async {
            worker.log().contains("ready")
        })
        .await;
        worker
    }

    /// What it wrote on stderr.
    pub fn log(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Drains it, and waits for its end; all that it logged.
    pub async fn drained(mut self) -> (ExitStatus, String) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let status = within("the worker's end", self.child.wait()).await.unwrap();
        within("the end of its log", &mut self.reader)
            .await
            .unwrap();
        (status, self.log())
    }
}
