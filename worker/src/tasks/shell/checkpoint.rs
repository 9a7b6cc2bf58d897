//! The file that a program keeps its checkpoint in, brought from and to the store.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use haul_common::job::{CHECKPOINT_BYTES_MAX, Failure};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use super::rules::RunAs;
use crate::{Context, MemoryError};

/// The content, as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes { base64: String },
}

/// The file of one attempt; removed when dropped.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    saved: Option<Stamp>,
    /// What is wrong with what it holds now.
    complaint: Option<String>,
}

/// Tells one content from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    written: Option<SystemTime>,
    inode: u64,
}

impl Checkpoint {
    /// What an earlier attempt saved, in a file; no file if there is nothing.
    pub(super) async fn restore<S: Send + Sync + 'static>(
        ctx: &Context<S>,
        path: PathBuf,
        user: Option<&RunAs>,
    ) -> Result<Self, Failure> {
        let mut checkpoint = Self {
            path,
            saved: None,
            complaint: None,
        };
        // A job that was never claimed before has nothing to come back to.
        if ctx.core.assignment.life.starts <= 1 {
            return Ok(checkpoint);
        }
        if let Some(content) = ctx.checkpoint::<Content>().await? {
            let written = checkpoint.write(content, user);
            checkpoint.saved = written
                .map_err(|error| Failure::retry(format!("cannot restore its checkpoint: {error}")))
                .map(Some)?;
        }
        Ok(checkpoint)
    }

    fn write(&self, content: Content, user: Option<&RunAs>) -> io::Result<Stamp> {
        let bytes = match content {
            Content::Text(text) => text.into_bytes(),
            Content::Bytes { base64 } => STANDARD.decode(base64).map_err(io::Error::other)?,
        };
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)?;
        if let Some(user) = user {
            fchown(&file, Some(user.uid), Some(user.gid))?;
        }
        file.write_all(&bytes)?;
        Ok(Stamp::of(&file.metadata()?))
    }

    /// Saves what the file holds, if that has changed. What is wrong is told in the job's log.
    pub(super) async fn look<S: Send + Sync + 'static>(&mut self, ctx: &Context<S>) {
        let Some(stamp) = fs::symlink_metadata(&self.path)
            .ok()
            .map(|it| Stamp::of(&it))
        else {
            return;
        };
        // Empty: just cut off, to be written anew.
        if self.saved == Some(stamp) || stamp.bytes == 0 {
            return;
        }
        match self.save(ctx).await {
            Ok(()) => (self.saved, self.complaint) = (Some(stamp), None),
            Err(failure) => {
                let complaint = format!("checkpoint not saved: {}", failure.message());
                if self.complaint.as_ref() != Some(&complaint) {
                    ctx.log(&complaint);
                }
                self.complaint = Some(complaint);
            }
        }
    }

    async fn save<S: Send + Sync + 'static>(&self, ctx: &Context<S>) -> Result<(), Failure> {
        let bytes = read(&self.path)?;
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            let (what, size) = ("the checkpoint".to_owned(), file_size(&self.path));
            return Err(MemoryError::TooLarge { what, size }.into());
        }
        let content = match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(error) => Content::Bytes {
                base64: STANDARD.encode(error.as_bytes()),
            },
        };
        Ok(ctx.save_checkpoint(&content).await?)
    }

    /// The last look, after the attempt ended without success.
    pub(super) async fn settle<S: Send + Sync + 'static>(
        mut self,
        ctx: &Context<S>,
        failure: Failure,
    ) -> Failure {
        self.look(ctx).await;
        match &self.complaint {
            Some(complaint) => failure.and(complaint),
            None => failure,
        }
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        // Most programs keep none.
        let _ = fs::remove_file(&self.path);
    }
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            bytes: meta.len(),
            written: meta.modified().ok(),
            inode: meta.ino(),
        }
    }
}

/// Reads a little more than may be saved. The program owns the path, and may be another user's: a
/// link would make the worker read for it what it may not, a pipe would make it wait.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() != 1 {
        return Err(io::Error::other("HAUL_CHECKPOINT is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(CHECKPOINT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file_size(path: &Path) -> usize {
    let size = fs::symlink_metadata(path).map_or(0, |meta| meta.len());
    usize::try_from(size).unwrap_or(usize::MAX)
}
