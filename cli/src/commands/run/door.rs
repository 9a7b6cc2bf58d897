//! Lets tests in to what makes commands of items.

use std::{io::Cursor, path::PathBuf};

use super::{
    rows,
    source::{Input, Origin},
    work::Work,
};

/// Reads items with columns, of CSV or as lines of JSON, and fills the places of a command with each:
/// how many there are.
///
/// # Errors
/// At the first that is wrong.
pub fn items(is_csv: bool, text: Vec<u8>, command: &[String]) -> Result<usize, String> {
    let (text, input) = (Cursor::new(text), Input::File(PathBuf::from("items")));
    let origin = Origin::Jsonl(input.clone());
    let work = Work::new(command, None, &origin).map_err(|error| error.to_string())?;
    let items = if is_csv {
        rows::csv(Box::new(text), &input)?
    } else {
        rows::jsonl(text, &input)
    };
    items.map(|item| work.of(&item?).map(|_| 1)).sum()
}
