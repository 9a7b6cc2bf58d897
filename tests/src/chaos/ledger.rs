//! Fixed-size records in append-only files: what handlers did, and what became of submits.
//!
//! One `write` for each record, so that a kill leaves whole records; nothing of it passes through
//! what is tested.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum What {
    /// About to be submitted.
    Attempted,
    /// The submit was answered: accepted.
    Accepted,
    /// The submit was answered: refused.
    Refused,
    /// Nobody knows whether it was submitted.
    Unknown,
    /// About to be cancelled.
    CancelAsked,
    /// The cancel was answered: it will never start.
    Cancelled,
    /// The cancel was answered otherwise, or not at all.
    CancelOpen,
    /// A handler began.
    Start,
    /// It did a step, whose number stands in `attempt`, and will save a checkpoint.
    Step,
    /// It did what must not be repeated.
    Effect,
    /// It returns its result.
    Done,
    /// It returns a failure.
    Failed,
    /// It was asked to stop, and does.
    Stopped,
}

const ALL: [What; 13] = [
    What::Attempted,
    What::Accepted,
    What::Refused,
    What::Unknown,
    What::CancelAsked,
    What::Cancelled,
    What::CancelOpen,
    What::Start,
    What::Step,
    What::Effect,
    What::Done,
    What::Failed,
    What::Stopped,
];

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which job.
    pub job: u64,
    /// In which attempt; 0 for submits.
    pub fence: u64,
    /// The attempt's number, or the step's.
    pub attempt: u32,
    /// What happened.
    pub what: What,
    /// When, by the machine's one monotonic clock.
    pub at_us: u64,
    /// When, by the wall clock of the process.
    pub wall_ms: u64,
}

/// Bytes of one record.
pub const SIZE: usize = 40;

/// Microseconds of the machine's monotonic clock, the same in every process.
///
/// # Panics
/// When the machine has no such clock.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    let (seconds, nanos) = (now.tv_sec().unsigned_abs(), now.tv_nsec().unsigned_abs());
    seconds * 1_000_000 + nanos / 1000
}

impl Entry {
    /// Happens now.
    pub fn now(what: What, job: u64, fence: u64, attempt: u32) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            job,
            fence,
            attempt,
            what,
            at_us: now_us(),
            wall_ms: wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(0)),
        }
    }

    fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.job.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.fence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at_us.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.wall_ms.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[36] = self.what as u8;
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        Some(Self {
            job: number(0)?,
            fence: number(8)?,
            at_us: number(16)?,
            wall_ms: number(24)?,
            attempt: u32::from_le_bytes(bytes[32..36].try_into().ok()?),
            what: *ALL.get(usize::from(bytes[36]))?,
        })
    }
}

/// A file of records, open to append.
#[derive(Debug)]
pub struct Log(File);

impl Log {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self(file))
    }

    /// Adds these, in one write.
    ///
    /// # Panics
    /// When the disk does not take them: a log with gaps proves nothing.
    pub fn write(&self, entries: &[Entry]) {
        let bytes: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
        (&self.0).write_all(&bytes).unwrap();
    }
}

/// All whole records of a file, and how many bytes were left over.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read(path: &Path) -> io::Result<(Vec<Entry>, usize)> {
    parse(&std::fs::read(path)?)
}

fn parse(bytes: &[u8]) -> io::Result<(Vec<Entry>, usize)> {
    let records = bytes.chunks_exact(SIZE);
    let rest = records.remainder().len();
    let entries: Option<Vec<_>> = records.map(Entry::parse).collect();
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a ledger");
    Ok((entries.ok_or_else(broken)?, rest))
}

/// Follows a file that grows.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    place: u64,
}

impl Tail {
    /// From its beginning. It need not be there yet.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, place: 0 }
    }

    /// What came since the last call.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn news(&mut self) -> io::Result<Vec<Entry>> {
        let Ok(mut file) = File::open(&self.path) else {
            return Ok(Vec::new());
        };
        file.seek(SeekFrom::Start(self.place))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (entries, rest) = parse(&bytes)?;
        self.place += (bytes.len() - rest) as u64;
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written_and_a_torn_one_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ledger");
        let wrote: Vec<_> = ALL
            .iter()
            .zip(0..)
            .map(|(what, n)| Entry::now(*what, n, n * 7, 3))
            .collect();
        let log = Log::open(&path).unwrap();
        let mut tail = Tail::new(path.clone());
        log.write(&wrote[..4]);
        assert_eq!(tail.news().unwrap(), wrote[..4]);
        log.write(&wrote[4..]);
        assert_eq!(tail.news().unwrap(), wrote[4..]);
        (&log.0).write_all(&[1; 9]).unwrap();
        assert_eq!(read(&path).unwrap(), (wrote, 9));
        assert!(tail.news().unwrap().is_empty());
    }
}
