//! `--joblog FILE`, with the columns of GNU parallel.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use haul_common::time::Timestamp;
use haul_producer::WorkerInfo;

use super::{ended::Ended, open::Open};

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// A log with a line for each job.
#[derive(Debug)]
pub(super) struct JobLog {
    path: PathBuf,
    file: File,
}

impl JobLog {
    /// Begins a log, or goes on with one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn open(path: PathBuf, goes_on: bool) -> anyhow::Result<Self> {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|file| {
                if !goes_on {
                    file.set_len(0)?;
                }
                Ok(file)
            });
        let file = opened.with_context(|| whose(&path))?;
        let mut log = Self { path, file };
        if log.file.metadata().with_context(|| whose(&log.path))?.len() == 0 {
            log.append(HEADER)?;
        }
        Ok(log)
    }

    fn append(&mut self, line: &str) -> anyhow::Result<()> {
        // At once, so that whoever follows the file sees whole lines.
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| whose(&self.path))
    }

    /// A job has ended.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub(super) fn write(
        &mut self,
        open: &Open,
        ended: &Ended,
        workers: &[WorkerInfo],
    ) -> anyhow::Result<()> {
        let (started, finished) = ended.times();
        let line = format!(
            "{}\t{}\t{:.3}\t{:10.3}\t0\t{}\t{}\t{}\t{}\n",
            open.number,
            host(ended, workers),
            seconds(started),
            finished.since(started).as_secs_f64(),
            ended.stdout.len(),
            ended.code,
            ended.signal,
            open.deed.replace(['\n', '\t'], " "),
        );
        self.append(&line)
    }
}

fn whose(path: &Path) -> String {
    format!("cannot write the --joblog {}", path.display())
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millis() as f64 / 1000.0
}

/// `:` is this machine, as in parallel.
fn host<'a>(ended: &Ended, workers: &'a [WorkerInfo]) -> &'a str {
    let attempts = ended.record.as_ref().map(|record| &record.attempts);
    let last = attempts.and_then(|attempts| attempts.last());
    let by = |last: &haul_common::job::Attempt| workers.iter().find(|it| it.id == last.worker);
    last.and_then(by).map_or(":", |worker| &worker.host)
}
