//! What a run leaves behind for the checker: files in one folder, readable again later.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::ledger::{self, Entry};

/// Something that was done to the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// To whom.
    pub hit: Hit,
    /// When it began.
    pub from_us: u64,
    /// When it was over.
    pub until_us: u64,
    /// What it was.
    pub what: String,
}

/// Whom a fault hits, and what may follow from that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hit {
    /// This worker process ended without warning.
    Killed(String),
    /// This worker process gave up by itself, as one does that cannot connect when it starts.
    Ended(String),
    /// This worker process stood still.
    Paused(String),
    /// This worker process could not reach its broker.
    NoBroker(String),
    /// This worker process could not reach its store.
    NoStore(String),
    /// This worker process had a wrong clock.
    Clock(String),
    /// The broker was away or took nothing, for all.
    Broker,
    /// The store was away or took nothing, for all.
    Store,
    /// The store forgot something that it had confirmed.
    Rollback,
}

impl Event {
    /// Whether it overlaps this time.
    pub const fn within(&self, from_us: u64, until_us: u64) -> bool {
        self.from_us <= until_us && self.until_us >= from_us
    }
}

/// What the store says of a job in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// Which job.
    pub job: u64,
    /// Its state, as a word.
    pub state: String,
    /// Why it is dead.
    pub reason: Option<String>,
    /// How often its worker was lost.
    pub crashes: u32,
    /// Fences of the attempts whose success was accepted.
    pub won: Vec<u64>,
}

impl Final {
    /// Whether the job has ended.
    pub fn is_terminal(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "dead" | "cancelled")
    }
}

/// What the driver knows of a run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which form of the suite.
    pub form: String,
    /// What everything followed from.
    pub seed: u64,
    /// The bug that was planted.
    pub planted: Option<String>,
    /// Workers that were killed before anything else happened.
    #[serde(default)]
    pub first_kills: u32,
    /// When the first job was submitted.
    pub began_us: u64,
    /// When the last submit was answered.
    pub submitted_us: u64,
    /// When the last fault was over.
    pub calm_us: u64,
    /// When no open job was left; nothing if that did not happen in time.
    pub drained_us: Option<u64>,
    /// Queues that were not empty in the end, with their messages.
    pub left: String,
    /// Jobs that the queue of dead letters holds.
    #[serde(default)]
    pub dead_letters: BTreeSet<u64>,
    /// Violations that the driver saw by itself.
    pub seen: Vec<String>,
}

/// All that a run left behind.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// As a whole.
    pub run: Run,
    /// Submits and cancels.
    pub submits: Vec<Entry>,
    /// What handlers did, by process.
    pub ledgers: HashMap<String, Vec<Entry>>,
    /// What was done to the fleet.
    pub events: Vec<Event>,
    /// What the store says in the end.
    pub finals: Vec<Final>,
    /// Bytes of records that were not whole.
    pub torn: usize,
}

/// Names of the files.
pub const RUN: &str = "run.json";
/// Submits.
pub const SUBMITS: &str = "submits.log";
/// Faults.
pub const EVENTS: &str = "faults.jsonl";
/// Final records.
pub const FINALS: &str = "finals.jsonl";
/// What names of ledgers end with.
pub const LEDGER: &str = "ledger";

impl Evidence {
    /// Reads a folder.
    ///
    /// # Errors
    /// When a file is missing or unreadable.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let run = serde_json::from_slice(&fs::read(dir.join(RUN))?)?;
        let (submits, mut torn) = ledger::read(&dir.join(SUBMITS))?;
        let mut ledgers = HashMap::new();
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let (Some(name), Some(ending)) = (path.file_stem(), path.extension()) else {
                continue;
            };
            if ending == LEDGER {
                let (entries, rest) = ledger::read(&path)?;
                torn += rest;
                ledgers.insert(name.to_string_lossy().into_owned(), entries);
            }
        }
        Ok(Self {
            run,
            submits,
            ledgers,
            events: read_lines(&dir.join(EVENTS))?,
            finals: read_lines(&dir.join(FINALS))?,
            torn,
        })
    }
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    let lines = BufReader::new(fs::File::open(path)?).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}

/// Writes one JSON text for each line.
///
/// # Errors
/// When it cannot be written.
pub fn write_lines<T: Serialize>(path: &Path, values: &[T]) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for value in values {
        serde_json::to_writer(&mut file, value)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}
