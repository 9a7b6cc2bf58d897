//! The append-only file of a Redis that is not running: as a power failure leaves it, and mended as
//! the runbook says.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::servers::Server;

/// What Redis and Valkey name where they cannot read their file.
const UNREADABLE: &str = "-check-aof --fix";

fn folder(redis: &Server) -> PathBuf {
    redis.dir().join("data/appendonlydir")
}

/// Which of Redis's increments a file is: `appendonly.aof.12.incr.aof`. The tenth comes after the ninth;
/// cut within, and not at the end of the last one, Redis takes none of them.
fn sequence(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".incr.aof")?;
    name.rsplit('.').next()?.parse().ok()
}

fn newest(redis: &Server) -> Result<fs::File> {
    let files = fs::read_dir(folder(redis))?.collect::<std::io::Result<Vec<_>>>()?;
    let (_, newest) = files
        .iter()
        .map(fs::DirEntry::path)
        .filter_map(|path| Some((sequence(&path)?, path)))
        .max()
        .context("Redis has no append-only file")?;
    Ok(fs::OpenOptions::new().append(true).open(newest)?)
}

/// Cuts bytes off the end of the newest file.
///
/// # Errors
/// When there is none, or it cannot be written.
pub fn truncate(redis: &Server, bytes: u64) -> Result<()> {
    let file = newest(redis)?;
    let length = file.metadata()?.len();
    Ok(file.set_len(length.saturating_sub(bytes))?)
}

/// Leaves half of a command at the end of the newest file, as Redis 7.0 does on a full disk. What is
/// written after that cannot be read.
///
/// # Errors
/// When there is none, or it cannot be written.
pub fn spoil(redis: &Server) -> Result<()> {
    Ok(newest(redis)?.write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nab")?)
}

/// Starts the server. Where it cannot read its file, that is cut first at the place: whether this was
/// needed.
///
/// # Errors
/// When it does not start all the same.
pub fn start(redis: &mut Server) -> Result<bool> {
    match redis.try_start() {
        Ok(()) => Ok(false),
        Err(why) if why.contains(UNREADABLE) => {
            tracing::warn!("Redis cannot read its file, which is cut");
            mend(redis)?;
            redis.try_start().map_err(|why| anyhow!(why))?;
            Ok(true)
        }
        Err(why) => Err(anyhow!(why)),
    }
}

fn mend(redis: &Server) -> Result<()> {
    let mut check = Command::new("redis-check-aof")
        .arg("--fix")
        .arg(folder(redis).join("appendonly.aof.manifest"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // It asks before it cuts.
    let mut answer = check.stdin.take().context("no stdin")?;
    answer.write_all(b"y\n")?;
    let said = check.wait_with_output()?;
    let text = String::from_utf8_lossy(&said.stdout);
    ensure!(said.status.success(), "redis-check-aof: {text}");
    Ok(())
}
