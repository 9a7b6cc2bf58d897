//! The two sides as processes.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

use super::cases::{Case, SLOTS};

/// Longest run of one process.
const PATIENCE: Duration = Duration::from_secs(600);
/// What Haul's names begin with here.
pub(super) const NAMESPACE: &str = "haulbench";

/// One of the two that are compared.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    program: PathBuf,
    word: &'static str,
    at: [String; 2],
}

/// What a process says at its end.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Figure {
    pub(super) jobs: usize,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    #[serde(default)]
    pub(super) from_us: u64,
    #[serde(default)]
    pub(super) to_us: u64,
    #[serde(default)]
    pub(super) cpu_us_per_job: f64,
    #[serde(default)]
    pub(super) memory_kib: i64,
}

impl Figure {
    /// Several processes that worked together, as one.
    pub(super) fn together(figures: &[Self]) -> Self {
        let jobs = figures.iter().map(|figure| figure.jobs).sum::<usize>();
        let cpu = |figure: &Self| figure.cpu_us_per_job * figure.jobs as f64;
        Self {
            jobs,
            p50_ms: None,
            p99_ms: None,
            from_us: figures
                .iter()
                .map(|figure| figure.from_us)
                .min()
                .unwrap_or(0),
            to_us: figures.iter().map(|figure| figure.to_us).max().unwrap_or(0),
            cpu_us_per_job: figures.iter().map(cpu).sum::<f64>() / jobs.max(1) as f64,
            memory_kib: figures
                .iter()
                .map(|figure| figure.memory_kib)
                .max()
                .unwrap_or(0),
        }
    }

    pub(super) fn per_s(&self) -> f64 {
        self.jobs as f64 * 1e6 / self.to_us.saturating_sub(self.from_us).max(1) as f64
    }
}

impl Side {
    pub(super) fn bare(broker: &str, store: &str) -> Result<Self> {
        Ok(Self {
            name: "bare",
            program: std::env::current_exe()?,
            word: "bare",
            at: [broker.to_owned(), store.to_owned()],
        })
    }

    pub(super) fn haul(program: &Path, broker: &str, store: &str) -> Self {
        Self {
            name: "Haul",
            program: program.to_owned(),
            word: "bench",
            at: [broker.to_owned(), store.to_owned()],
        }
    }

    fn command(&self, workload: &str, case: &Case) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("HAUL_NAMESPACE", NAMESPACE)
            .args([self.word, workload])
            .args(["--broker", &self.at[0], "--store", &self.at[1]])
            .args(["--size", &case.size.to_string()])
            .args(["--queues", &case.queues.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(super) async fn submit(
        &self,
        case: &Case,
        jobs: usize,
        lanes: &str,
        wait_ms: u64,
    ) -> Result<Figure> {
        let mut command = self.command("submit", case);
        command
            .args(["--jobs", &jobs.to_string(), "--lanes", lanes])
            .args(["--wait-ms", &wait_ms.to_string()]);
        last_figure(&mut command).await
    }

    pub(super) async fn latency(
        &self,
        case: &Case,
        rate: u32,
        seconds: u32,
        lanes: &str,
    ) -> Result<Figure> {
        let mut command = self.command("latency", case);
        command.args(["--rate", &rate.to_string()]).args([
            "--seconds",
            &seconds.to_string(),
            "--lanes",
            lanes,
        ]);
        last_figure(&mut command).await
    }

    /// Starts workers, and waits until they consume.
    pub(super) async fn work(&self, case: &Case) -> Result<Workers> {
        let mut workers = Vec::new();
        for _ in 0..case.workers {
            let mut command = self.command("work", case);
            command.args(["--slots", &SLOTS.to_string()]);
            workers.push(Worker::start(&mut command)?);
        }
        for worker in &mut workers {
            let mut count = worker.count.clone();
            let ready = count.wait_for(Option::is_some);
            timeout(PATIENCE, ready)
                .await
                .context("a worker does not get ready")??;
        }
        Ok(Workers(workers))
    }
}

async fn last_figure(command: &mut Command) -> Result<Figure> {
    let child = command.spawn()?;
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.context("a process takes too long")??;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text
        .lines()
        .last()
        .ok_or_else(|| anyhow!("it said nothing"))?;
    Ok(serde_json::from_str(line)?)
}

/// Workers that run.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    child: Child,
    /// How many jobs it has started; nothing before it is ready.
    count: watch::Receiver<Option<usize>>,
    figure: tokio::task::JoinHandle<Result<Figure>>,
}

impl Worker {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| anyhow!("no pipe"))?;
        let (say, count) = watch::channel(None);
        let figure = tokio::spawn(listen(BufReader::new(output).lines(), say));
        Ok(Self {
            child,
            count,
            figure,
        })
    }
}

async fn listen(
    mut lines: Lines<BufReader<ChildStdout>>,
    say: watch::Sender<Option<usize>>,
) -> Result<Figure> {
    while let Some(line) = lines.next_line().await? {
        if line.starts_with('{') {
            return Ok(serde_json::from_str(&line)?);
        }
        say.send_replace(Some(line.parse().unwrap_or(0)));
    }
    bail!("a worker ended before its time")
}

impl Workers {
    /// Waits until all together have started so many jobs, then ends them.
    pub(super) async fn finish(mut self, jobs: usize) -> Result<Figure> {
        timeout(PATIENCE, self.started(jobs))
            .await
            .context("the workers take too long")??;
        for worker in &mut self.0 {
            drop(worker.child.stdin.take());
        }
        let mut figures = Vec::new();
        for mut worker in self.0 {
            let figure = timeout(PATIENCE, worker.figure).await;
            figures.push(figure.context("a worker does not end")???);
            worker.child.wait().await?;
        }
        Ok(Figure::together(&figures))
    }

    async fn started(&mut self, jobs: usize) -> Result<()> {
        loop {
            let counts = self
                .0
                .iter()
                .map(|worker| worker.count.borrow().unwrap_or(0));
            if counts.sum::<usize>() >= jobs {
                return Ok(());
            }
            let changes = self
                .0
                .iter_mut()
                .map(|worker| Box::pin(worker.count.changed()));
            futures_util::future::select_all(changes).await.0?;
        }
    }
}
