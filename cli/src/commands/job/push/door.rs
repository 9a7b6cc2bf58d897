//! Lets tests in to what makes jobs of rows.

use std::io::Cursor;

use super::{
    Common,
    plan::Plan,
    rows::{Format, Problem, read},
};
use haul_producer::{Backoff, Lane, QueueName, Submission, Timestamp};

/// A line, and its job or what is wrong.
pub type Row = (u64, Result<Submission, String>);

/// Reads rows, of CSV where `args` fill the places in a template, else whole jobs as lines of JSON.
///
/// # Errors
/// When the columns are none, or the template is.
pub fn rows(args: Option<&str>, text: Vec<u8>) -> Result<Vec<Row>, String> {
    let (common, text) = (common(), Cursor::new(text));
    let said = |error: anyhow::Error| error.to_string();
    let task = || "t".parse().map_err(|error| format!("{error}"));
    let (plan, format) = match args {
        None => (Plan::envelopes(common, None), Format::Jsonl),
        Some(args) => {
            let args = serde_json::from_str(args).map_err(|error| error.to_string())?;
            let plan = Plan::args(common, task()?, Some(args), Some("id-{id}"));
            (plan.map_err(said)?, Format::Csv)
        }
    };
    let (columns, rows) = read(text, format)?;
    if let Some(columns) = columns {
        plan.fits(&columns).map_err(said)?;
    }
    let job = |row| match row {
        Ok(row) => (plan.job(&row).map_err(|it| it.what), row.line),
        Err(Problem { line, what, .. }) => (Err(what), line),
    };
    Ok(rows.map(job).map(|(job, line)| (line, job)).collect())
}

fn common() -> Common {
    Common {
        queue: QueueName::default_queue(),
        lane: Lane::Normal,
        delay: None,
        at: Some(Timestamp::from_millis(1_800_000_000_000)),
        attempts: 5,
        backoff: Backoff::default(),
        timeout: None,
        deadline: None,
        retention: None,
        tags: Vec::new(),
        batch: None,
    }
}
