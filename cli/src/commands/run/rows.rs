//! Items with columns: rows of CSV, and lines of JSON.

use std::io::{BufRead, Read};

use haul_common::job::{Json, json};
use serde_json::{Map, Value};

use super::source::{Input, Item, Items, plain};

/// Rows under a row of names.
pub(super) fn csv(from: Box<dyn Read + Send>, input: &Input) -> Result<Items, String> {
    let name = input.name();
    let is_tabbed = name.ends_with(".tsv") || name.ends_with(".tab");
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if is_tabbed { b'\t' } else { b',' })
        .from_reader(from);
    let header = reader.headers().map_err(|error| wrong(&name, &error))?;
    let columns: Vec<String> = header.iter().map(str::to_owned).collect();
    check_header(&columns, &name)?;
    let item = move |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.map_err(|error| wrong(&name, &error))?;
        let line = row.position().map_or(0, csv::Position::line);
        let values = row.iter().map(|text| Value::String(text.to_owned()));
        let object: Map<String, Value> = columns.iter().cloned().zip(values).collect();
        let row = json(&object).map_err(|error| error.to_string())?;
        Ok(Item {
            line,
            json: Some(row.clone()),
            ..plain(row.get().to_owned())
        })
    };
    Ok(Box::new(reader.into_records().map(item)))
}

fn check_header(columns: &[String], name: &str) -> Result<(), String> {
    for (at, column) in columns.iter().enumerate() {
        let why = match column.trim() {
            "" => "has no name".to_owned(),
            _ if columns[..at].contains(column) => format!("is the second one called `{column}`"),
            _ => continue,
        };
        let nth = at + 1;
        return Err(format!(
            "{name}, line 1: column {nth} {why}; the first line names the columns, each differently"
        ));
    }
    match columns.is_empty() {
        true => Err(format!("{name} is empty; its first line names the columns")),
        false => Ok(()),
    }
}

fn wrong(name: &str, error: &csv::Error) -> String {
    let line = error.position().map_or(1, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!(
            "{name}, line {line}: {len} fields, and the first line names {expected_len} columns; \
             a field with a comma in it goes between double quotes"
        ),
        csv::ErrorKind::Utf8 { err, .. } => {
            let field = err.field() + 1;
            format!("{name}, line {line}: field {field} is not UTF-8")
        }
        _ => format!("cannot read {name}: {error}"),
    }
}

/// A JSON value on each line; text takes the place of `{}` without its quotes.
pub(super) fn jsonl(from: impl BufRead + Send + 'static, input: &Input) -> Items {
    let name = input.name();
    let item = move |(line, number): (std::io::Result<String>, u64)| {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(format!("cannot read {name}, line {number}: {error}"))),
        };
        let read = parse(line.trim()).map(|item| Item {
            line: number,
            ..item
        });
        Some(read.map_err(|why| format!("{name}, line {number}: {why}")))
    };
    Box::new(from.lines().zip(1..).filter_map(item))
}

fn parse(line: &str) -> Result<Item, String> {
    let json = json_of(line)?;
    let text = match serde_json::from_str(line) {
        Ok(Value::String(text)) => text,
        _ => line.to_owned(),
    };
    Ok(Item {
        json: Some(json),
        ..plain(text)
    })
}

/// Reads JSON; says at which column it is none.
pub(super) fn json_of(text: &str) -> Result<Json, String> {
    serde_json::from_str::<Json>(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = error.to_string();
        let what = what.replace(&format!(" at line {line} column {column}"), "");
        format!("not JSON: column {column}: {what}")
    })
}
