//! Where items come from.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use haul_common::job::Json;
use tokio::sync::mpsc;

use super::rows;
use crate::{exit::Exit, screen};

/// Items that were read and not yet submitted: enough for a chunk, and no more, so that a million
/// lines are never all in memory.
const READ_AHEAD: usize = 500;

/// What a job is made for.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its place in the input, from 1.
    pub(super) number: u64,
    /// The line it stands on; 0 where there are none.
    pub(super) line: u64,
    /// What takes the place of `{}`.
    pub(super) text: String,
    /// Differs once the file is another: its size, and when it was changed.
    pub(super) print: Option<String>,
    /// A row, or what stood on a line of JSON.
    pub(super) json: Option<Json>,
}

/// Items as they are read; or what is wrong, and where.
pub(super) type Items = Box<dyn Iterator<Item = Result<Item, String>> + Send>;

/// Where items come from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// The words behind `:::`.
    Words(Vec<String>),
    /// The files that matched a pattern.
    Files(Vec<String>),
    /// Pieces of text, each with this behind it.
    Pieces(Input, u8),
    /// Rows under a row of names.
    Csv(Input),
    /// A JSON value on each line.
    Jsonl(Input),
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// This process's own.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        if path == Path::new("-") {
            return Self::Stdin;
        }
        Self::File(path)
    }
}

impl Input {
    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, String> {
        Ok(match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(
                File::open(path)
                    .map_err(|error| format!("cannot open {}: {error}", self.name()))?,
            ),
        })
    }

    /// Whether it can be read twice.
    fn is_lasting(&self) -> bool {
        matches!(self, Self::File(path) if path.is_file())
    }
}

impl Origin {
    /// The files that match a pattern, sorted.
    ///
    /// # Errors
    /// When it is none, or a name is not UTF-8.
    pub(super) fn files(pattern: &str) -> anyhow::Result<Self> {
        let wrong = |error| Exit::usage(format!("--files `{pattern}` is not a pattern: {error}"));
        let mut items = Vec::new();
        for path in glob::glob(pattern).map_err(wrong)? {
            let path = path?;
            let name = path.to_str();
            let name = name.ok_or_else(|| Exit::usage(format!("{path:?} is not UTF-8")))?;
            if path.is_file() {
                items.push(name.to_owned());
            }
        }
        items.sort();
        Ok(Self::Files(items))
    }

    /// Whether items have columns.
    pub(super) const fn has_columns(&self) -> bool {
        matches!(self, Self::Csv(_) | Self::Jsonl(_))
    }

    /// Whether it can be read before anything is submitted, and then again.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Words(_) | Self::Files(_) => true,
            Self::Pieces(input, _) | Self::Csv(input) | Self::Jsonl(input) => input.is_lasting(),
        }
    }

    /// Where an item stands, for messages.
    pub(super) fn place(&self, item: &Item) -> String {
        match self {
            Self::Pieces(input, _) | Self::Csv(input) | Self::Jsonl(input) if item.line > 0 => {
                format!("{}, line {}", input.name(), item.line)
            }
            _ => format!("item {}", item.number),
        }
    }

    /// Says so where a person has to type the items.
    pub(super) fn prompt(&self) {
        let reads = matches!(
            self,
            Self::Pieces(Input::Stdin, _) | Self::Csv(Input::Stdin) | Self::Jsonl(Input::Stdin)
        );
        if reads && io::stdin().is_terminal() && screen::is_watched() {
            screen::talk("haul: reading items from the terminal, one on a line; end with Ctrl-D");
        }
    }

    /// Reads items.
    ///
    /// # Errors
    /// When it cannot be opened, or its head cannot be read.
    pub(super) fn items(&self) -> Result<Items, String> {
        let texts: Items = match self.clone() {
            Self::Words(words) => Box::new(words.into_iter().map(|text| Ok(plain(text)))),
            Self::Files(files) => Box::new(files.into_iter().map(file)),
            Self::Pieces(input, end) => pieces(&input, end)?,
            Self::Csv(input) => rows::csv(input.open()?, &input)?,
            Self::Jsonl(input) => rows::jsonl(BufReader::new(input.open()?), &input),
        };
        let number =
            |(item, number): (Result<Item, String>, u64)| item.map(|item| Item { number, ..item });
        Ok(Box::new(texts.zip(1..).map(number)))
    }
}

/// An item that is nothing but text.
pub(super) const fn plain(text: String) -> Item {
    Item {
        number: 0,
        line: 0,
        text,
        print: None,
        json: None,
    }
}

fn file(path: String) -> Result<Item, String> {
    let data =
        std::fs::metadata(&path).map_err(|error| format!("cannot look at {path}: {error}"))?;
    let print = format!("{} {}.{}", data.size(), data.mtime(), data.mtime_nsec());
    Ok(Item {
        print: Some(print),
        ..plain(path)
    })
}

fn pieces(input: &Input, end: u8) -> Result<Items, String> {
    let name = input.name();
    let read = BufReader::new(input.open()?).split(end);
    let piece = move |(piece, number): (io::Result<Vec<u8>>, u64)| {
        let mut bytes = match piece {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(format!("cannot read {name}: {error}"))),
        };
        if end == b'\n' && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(Ok(Item {
                line: if end == b'\n' { number } else { 0 },
                ..plain(text)
            })),
            Err(error) => Some(Err(format!(
                "{name}, item {number}: not UTF-8 from byte {} on",
                error.utf8_error().valid_up_to() + 1
            ))),
        }
    };
    Ok(Box::new(read.zip(1..).filter_map(piece)))
}

/// Items as they come.
#[derive(Debug)]
pub(super) struct Source {
    /// How many there are, where that is known before the end.
    pub(super) total: Option<usize>,
    items: mpsc::Receiver<Result<Item, String>>,
    is_over: bool,
}

impl Source {
    /// Begins to read.
    ///
    /// # Errors
    /// When there is nothing to read from.
    pub(super) fn open(origin: &Origin, total: Option<usize>) -> anyhow::Result<Self> {
        let (to, items) = mpsc::channel(READ_AHEAD);
        let from = origin.items().map_err(Exit::usage)?;
        origin.prompt();
        // A thread that nobody waits for: a read from a terminal cannot be called off.
        thread::spawn(move || {
            for item in from {
                let is_last = item.is_err();
                if to.blocking_send(item).is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Self {
            total,
            items,
            is_over: false,
        })
    }

    /// What is there, at most `limit` items; nothing at the end. Loses nothing when dropped.
    pub(super) async fn next(&mut self, limit: usize) -> Vec<Result<Item, String>> {
        let mut chunk = Vec::new();
        if self.items.recv_many(&mut chunk, limit).await == 0 {
            self.is_over = true;
        }
        chunk
    }

    /// There are no more.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// No more are wanted.
    pub(super) fn close(&mut self) {
        self.items.close();
        self.is_over = true;
    }
}
