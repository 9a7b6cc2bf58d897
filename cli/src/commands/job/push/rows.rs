//! Rows of a file: lines of JSON, or records of CSV below a header. A file is read twice, once to
//! look at all of it and once to submit it; what cannot be read twice is spooled.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
    path::Path,
    rc::Rc,
};

use haul_common::job::{BODY_BYTES_MAX, Json};
use serde_json::value::to_raw_value;

use super::template::Unfit;
use crate::exit::Exit;

/// A row is no longer than this: room for the largest arguments, however they are written.
const ROW_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it begins, from 1.
    pub(super) line: u64,
    /// What it says.
    pub(super) fields: BTreeMap<String, Json>,
}

impl Row {
    pub(super) fn field(&self, name: &str) -> Result<&Json, Unfit> {
        let missing = || (name.to_owned(), "it is missing".to_owned());
        self.fields.get(name).ok_or_else(missing)
    }

    /// A field as text: a string without its quotes, else JSON.
    pub(super) fn text(&self, name: &str) -> Result<String, Unfit> {
        let field = self.field(name)?.get();
        Ok(serde_json::from_str(field).unwrap_or_else(|_| field.to_owned()))
    }
}

/// A row that cannot be a job.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where it begins, from 1.
    pub(super) line: u64,
    /// Which column or field.
    pub(super) field: Option<String>,
    /// What is wrong.
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(line: u64, field: Option<&str>, what: impl Into<String>) -> Self {
        Self {
            line,
            field: field.map(str::to_owned),
            what: what.into(),
        }
    }
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jsonl,
    Csv,
}

/// A file that can be read twice.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    file: File,
    /// What is written to it meanwhile is not read.
    len: u64,
}

pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, Problem>>>;

impl Source {
    /// Opens a file; `-` is stdin.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let wrong = |name: &str, error| Exit::usage(format!("cannot read {name}: {error}"));
        let (name, file) = if path == Path::new("-") {
            let name = "stdin".to_owned();
            let spooled = spool(io::stdin().lock()).map_err(|error| wrong(&name, error))?;
            (name, spooled)
        } else {
            let name = path.display().to_string();
            let mut file = File::open(path).map_err(|error| wrong(&name, error))?;
            let meta = file.metadata().map_err(|error| wrong(&name, error))?;
            if !meta.is_file() {
                file = spool(file).map_err(|error| wrong(&name, error))?;
            }
            (name, file)
        };
        let len = file.metadata().map_err(|error| wrong(&name, error))?.len();
        Ok(Self { name, file, len })
    }

    /// The columns of a CSV file, and its rows from the first on.
    pub(super) fn rows(&self, format: Format) -> anyhow::Result<(Option<Vec<String>>, Rows)> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        let read = read(file.take(self.len), format);
        read.map_err(|what| Exit::usage(format!("{}: {what}", self.name)))
    }
}

/// The columns of CSV, and the rows from the first on.
pub(super) fn read(
    from: impl Read + 'static,
    format: Format,
) -> Result<(Option<Vec<String>>, Rows), String> {
    match format {
        Format::Jsonl => Ok((None, Box::new(Lines::new(BufReader::new(from))))),
        Format::Csv => {
            let (columns, rows) = records(from)?;
            Ok((Some(columns), Box::new(rows)))
        }
    }
}

fn spool(mut from: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut from, &mut file)?;
    file.flush()?;
    Ok(file)
}

/// Lines of JSON; empty ones are left out.
struct Lines<R> {
    from: R,
    line: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    const fn new(from: R) -> Self {
        Self {
            from,
            line: 0,
            bytes: Vec::new(),
        }
    }

    /// Reads a line; says whether there was one.
    fn read(&mut self) -> Result<bool, Problem> {
        self.line += 1;
        let line = self.line;
        let wrong = |what: String| Problem::new(line, None, what);
        self.bytes.clear();
        let limit = u64::try_from(ROW_BYTES_MAX).unwrap_or(u64::MAX);
        let mut from = self.from.by_ref().take(limit);
        from.read_until(b'\n', &mut self.bytes)
            .map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        if self.bytes.len() == ROW_BYTES_MAX && !self.bytes.ends_with(b"\n") {
            let skipped = self.from.skip_until(b'\n');
            skipped.map_err(|error| wrong(format!("it cannot be read: {error}")))?;
            return Err(wrong(format!("it is longer than {ROW_BYTES_MAX} bytes")));
        }
        if self.line == 1 && self.bytes.starts_with(b"\xef\xbb\xbf") {
            self.bytes.drain(..3);
        }
        Ok(!self.bytes.is_empty())
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Row, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Err(problem) => return Some(Err(problem)),
                Ok(false) => return None,
                Ok(true) if self.bytes.trim_ascii().is_empty() => {}
                Ok(true) => return Some(object(self.line, &self.bytes)),
            }
        }
    }
}

fn object(line: u64, bytes: &[u8]) -> Result<Row, Problem> {
    // Without the line's end: an error at it would be told at the next line.
    let fields = serde_json::from_slice(bytes.trim_ascii_end()).map_err(|error| {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let what = error.to_string().replace(&position, "");
        let what = if error.is_data() {
            "it is JSON, but not an object such as {\"name\": \"you\"}".to_owned()
        } else {
            format!("it is not JSON: column {}: {what}", error.column())
        };
        Problem::new(line, None, what)
    })?;
    Ok(Row { line, fields })
}

/// Counts what is read for one record, so that a quote that is never closed does not fill memory.
struct Metered<R> {
    from: R,
    read: Rc<Cell<usize>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > ROW_BYTES_MAX {
            return Err(io::Error::other(format!(
                "it is longer than {ROW_BYTES_MAX} bytes; a quote may not be closed"
            )));
        }
        let count = self.from.read(buffer)?;
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}

/// The columns, and the records below them.
fn records<R: Read + 'static>(
    from: R,
) -> Result<(Vec<String>, impl Iterator<Item = Result<Row, Problem>>), String> {
    let read = Rc::new(Cell::new(0));
    let from = Metered {
        from,
        read: read.clone(),
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(from);
    let header = reader
        .headers()
        .map_err(|error| format!("line 1: {error}"))?;
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    for (n, name) in columns.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("line 1: column {} has no name", n + 1));
        }
        if columns[..n].contains(name) {
            return Err(format!("line 1: two columns are named `{name}`"));
        }
    }
    let names = columns.clone();
    let (mut record, mut is_over) = (csv::ByteRecord::new(), false);
    let rows = std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        read.set(0);
        let line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                let line = record.position().map_or(line, csv::Position::line);
                Some(fields(line, &names, &record))
            }
            Err(error) => {
                is_over = true;
                let what = match error.kind() {
                    csv::ErrorKind::Io(error) => error.to_string(),
                    _ => error.to_string(),
                };
                Some(Err(Problem::new(line, None, what)))
            }
        }
    });
    Ok((columns, rows))
}

fn fields(line: u64, columns: &[String], record: &csv::ByteRecord) -> Result<Row, Problem> {
    if record.len() != columns.len() {
        let what = format!(
            "it has {} fields, and the header names {}; is a comma inside a field that is not in \
             quotes?",
            record.len(),
            columns.len()
        );
        return Err(Problem::new(line, None, what));
    }
    let field = |(name, bytes): (&String, &[u8])| {
        let wrong = |what: String| Problem::new(line, Some(name), what);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        let json = to_raw_value(text).map_err(|error| wrong(error.to_string()))?;
        Ok((name.clone(), json))
    };
    let fields = columns.iter().zip(record).map(field);
    Ok(Row {
        line,
        fields: fields.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Result<Row, Problem>> {
        Lines::new(text).collect()
    }

    fn places(rows: &[Result<Row, Problem>]) -> Vec<Result<u64, u64>> {
        let place = |row: &Result<Row, Problem>| match row {
            Ok(row) => Ok(row.line),
            Err(problem) => Err(problem.line),
        };
        rows.iter().map(place).collect()
    }

    #[test]
    fn every_line_of_json_is_a_row_or_a_problem() {
        let rows = lines(b"\xef\xbb\xbf{\"a\":1}\n\n[1]\n{\"a\"\n{\"a\":\"\xff\"}\n{}");
        assert_eq!(places(&rows), [Ok(1), Err(3), Err(4), Err(5), Ok(6)]);
        let what = |n: usize| rows[n].as_ref().unwrap_err().what.clone();
        assert!(what(1).contains("not an object"), "{}", what(1));
        assert!(what(2).contains("column 4"), "{}", what(2));
    }

    #[test]
    fn a_line_that_is_too_long_does_not_hide_the_next_one() {
        let mut text = vec![b'x'; ROW_BYTES_MAX + 5];
        text.extend_from_slice(b"\n{}\n");
        assert_eq!(places(&lines(&text)), [Err(1), Ok(2)]);
    }

    #[test]
    fn a_record_has_as_many_fields_as_the_header() {
        let text = "a, b\n1,\"two\nlines\"\n1\n3,4\n".as_bytes();
        let (columns, rows) = records(text).unwrap();
        assert_eq!(columns, ["a", "b"]);
        let rows: Vec<_> = rows.collect();
        assert_eq!(places(&rows), [Ok(2), Err(4), Ok(5)]);
        assert_eq!(rows[0].as_ref().unwrap().text("b").unwrap(), "two\nlines");
    }

    #[test]
    fn a_header_names_each_column_once() {
        for wrong in ["a,a\n", "a,,b\n"] {
            assert!(records(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_where_it_began() {
        let mut text = b"a\n1\n\"".to_vec();
        text.extend(std::iter::repeat_n(b'x', 2 * ROW_BYTES_MAX));
        let (_, rows) = records(io::Cursor::new(text)).unwrap();
        let rows: Vec<_> = rows.collect();
        assert_eq!(places(&rows), [Ok(2), Err(3)]);
        assert!(rows[1].as_ref().unwrap_err().what.contains("quote"));
    }
}
