//! A job as a row of CSV, as RFC 4180 has it.

use std::time::Duration;

use haul_producer::{Record, Timestamp};

use super::times::Times;

/// The names of the columns.
pub(super) const HEADINGS: &str = "id,task,queue,lane,state,reason,starts,created_at,started_at,\
    finished_at,waiting_ms,running_ms,retrying_ms,error";

/// A job, in the order of [`HEADINGS`].
pub(super) fn row(record: &Record, times: Times) -> String {
    let Record { spec, life, .. } = record;
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let ms = |time: Duration| time.as_millis().to_string();
    let maybe = |time: Option<Duration>| time.map(ms).unwrap_or_default();
    let reason = life.state.reason().map(|reason| reason.to_string());
    let fields = [
        spec.id.to_string(),
        spec.task.to_string(),
        spec.queue.to_string(),
        spec.lane.to_string(),
        life.state.kind().to_string(),
        reason.unwrap_or_default(),
        life.starts.to_string(),
        time(Some(record.created)),
        time(life.started),
        time(life.state.finished()),
        ms(times.waiting),
        maybe(times.running),
        maybe(times.retrying),
        life.error.clone().unwrap_or_default(),
    ];
    fields.map(|field| quoted(&field)).join(",")
}

fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_field_is_quoted() {
        assert_eq!(quoted("plain text"), "plain text");
        assert_eq!(quoted("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
    }
}
