//! Stdout: lines, JSON and tables. A reader that has gone away is an error that ends the command
//! quietly, never a panic.

use std::io::{self, Write};

use haul_common::job::StateKind;
use serde::Serialize;

use crate::screen;

/// Writes a line.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    screen::around(|| writeln!(io::stdout(), "{text}"))?;
    Ok(())
}

/// Writes an object on one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Writes text as it is, whole and at once; a last line without an end gets one.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    screen::around(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    })?;
    Ok(())
}

/// Columns, each as wide as its widest cell; the last one as it comes.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// What stands in a table.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    align: Align,
    colour: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            align: Align::Left,
            colour: None,
        }
    }
}

impl Cell {
    /// A number: to the right.
    pub(crate) fn number(number: u64) -> Self {
        Self {
            text: number.to_string(),
            align: Align::Right,
            colour: None,
        }
    }

    /// A heading above numbers.
    pub(crate) fn right(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            align: Align::Right,
            colour: None,
        }
    }

    /// In the colour of a state.
    pub(crate) fn state(text: String, state: StateKind) -> Self {
        Self {
            text,
            align: Align::Left,
            colour: state_colour(state),
        }
    }
}

/// The ANSI colour that a state is shown in.
const fn state_colour(state: StateKind) -> Option<&'static str> {
    match state {
        StateKind::Succeeded => Some("32"),
        StateKind::Dead => Some("31"),
        StateKind::Running => Some("36"),
        StateKind::Retrying => Some("33"),
        StateKind::Cancelled => Some("2"),
        StateKind::Blocked | StateKind::Scheduled | StateKind::Queued => None,
    }
}

/// `text` in the colour of a state, where stdout takes colours.
pub(crate) fn in_state_colour(text: &str, state: StateKind) -> String {
    in_colour(text, state, screen::has_colour(&io::stdout()))
}

/// `text` in the colour of a state, where colours are wanted.
pub(crate) fn in_colour(text: &str, state: StateKind, coloured: bool) -> String {
    match state_colour(state) {
        Some(colour) if coloured => format!("\x1b[{colour}m{text}\x1b[0m"),
        _ => text.to_owned(),
    }
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: Vec<Cell>) -> Self {
        Self {
            rows: vec![headings],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes it to stdout.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let coloured = screen::has_colour(&io::stdout());
        for row in self.render(coloured) {
            line(row)?;
        }
        Ok(())
    }

    fn render(&self, coloured: bool) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|n| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(n))
                    .map(Cell::width)
                    .max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        self.rows
            .iter()
            .map(|row| {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .map(|(cell, width)| cell.pad(*width, coloured))
                    .collect();
                cells.join("  ").trim_end().to_owned()
            })
            .collect()
    }
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn pad(&self, width: usize, coloured: bool) -> String {
        let blanks = " ".repeat(width.saturating_sub(self.width()));
        let text = match self.colour {
            Some(colour) if coloured => format!("\x1b[{colour}m{}\x1b[0m", self.text),
            _ => self.text.clone(),
        };
        match self.align {
            Align::Left => text + &blanks,
            Align::Right => blanks + &text,
        }
    }
}

/// The first line of `text`, at most `max` characters of it, and nothing that moves a cursor.
pub(crate) fn first_line(text: &str, max: usize) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim();
    let clean = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    if line.chars().count() > max {
        clean.take(max.saturating_sub(1)).chain(['…']).collect()
    } else {
        clean.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_rows_end_without_blanks() {
        let mut table = Table::new(vec!["QUEUE".into(), Cell::right("JOBS"), "STATE".into()]);
        table.row(vec!["mail".into(), Cell::number(7), "x".into()]);
        table.row(vec!["a-longer-one".into(), Cell::number(1234), "".into()]);
        assert_eq!(
            table.render(false),
            [
                "QUEUE         JOBS  STATE",
                "mail             7  x",
                "a-longer-one  1234"
            ]
        );
    }

    #[test]
    fn colours_do_not_count_as_width() {
        let mut table = Table::new(vec![
            Cell::state("dead".into(), StateKind::Dead),
            "x".into(),
        ]);
        table.row(vec!["longer".into(), "y".into()]);
        assert_eq!(table.render(true)[0], "\x1b[31mdead\x1b[0m    x");
    }

    #[test]
    fn a_first_line_is_short_and_moves_no_cursor() {
        assert_eq!(first_line("\n  a\tb\x1b[2J\nsecond", 80), "a b [2J");
        assert_eq!(first_line("abcdef", 4), "abc…");
    }
}
