//! `haul job show`

use clap::Args;
use haul_common::{job::Record, time::show_duration};
use haul_producer::{JobId, Producer, StateKind, Timestamp};

use super::{age, count};
use crate::{
    commands::queue::pause_words,
    exit::{Code, Exit},
    output,
    session::Session,
    view::{AttemptView, JobView, attempts, result},
};

/// Which job.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  haul job show 01980d4e-7c5a-7000-8000-000000000000
  haul job show my-id --json | jq '.attempts[-1].log'")]
pub(crate) struct ShowArgs {
    /// The job's id
    id: JobId,
}

/// Shows the job.
///
/// # Errors
/// When no such job is known, or the store cannot be asked.
pub(super) async fn run(session: &Session, args: ShowArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let record = find(&producer, &args.id).await?;
    if session.json {
        return output::json(&JobView::from(&record));
    }
    for line in describe(&record, producer.backend().store.now()) {
        output::line(line)?;
    }
    why_not(session, &producer, &record).await
}

/// Says why it does not begin, if its queue is paused.
async fn why_not(session: &Session, producer: &Producer, record: &Record) -> anyhow::Result<()> {
    let (queue, state) = (&record.spec.queue, record.life.state.kind());
    if state.is_terminal() || state == StateKind::Running {
        return Ok(());
    }
    if let Some(pause) = producer.pauses().await?.get(queue) {
        let words = pause_words(pause, producer.backend().store.now());
        session.say(format!(
            "queue `{queue}` is paused {words}; it goes on with: haul queue resume {queue}"
        ));
    }
    Ok(())
}

/// The job's record.
///
/// # Errors
/// When there is none.
pub(super) async fn find(producer: &Producer, id: &JobId) -> anyhow::Result<Record> {
    producer.find(id).await?.ok_or_else(|| {
        Exit::with(
            Code::NotFound,
            format!(
                "no job {id} is known: never submitted here, or forgotten since; see haul job list"
            ),
        )
    })
}

fn describe(record: &Record, now: Timestamp) -> Vec<String> {
    let Record { spec, life, .. } = record;
    let state = life.state.kind();
    let headline = output::in_state_colour(&state_words(record), state);
    let mut lines = vec![format!("{}  {}  {headline}", spec.task, spec.id)];
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<10}{value}"));
        }
    };
    let moment = |time: Timestamp| format!("{time}  ({})", relative(time, now));
    let optional = |time: Option<Timestamp>| time.map(moment).unwrap_or_default();
    fact("queue", format!("{}, lane {}", spec.queue, spec.lane));
    fact(
        "attempt",
        format!(
            "{} of {}, then {}",
            life.attempt, spec.max_attempts, spec.backoff
        ),
    );
    fact(
        "batch",
        spec.batch
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    fact(
        "tags",
        spec.tags
            .iter()
            .map(|tag| &**tag)
            .collect::<Vec<_>>()
            .join(", "),
    );
    fact("created", moment(record.created));
    fact("due", optional(life.state.due()));
    fact("started", optional(life.started));
    fact("finished", optional(life.state.finished()));
    fact(
        "timeout",
        spec.timeout.map(show_duration).unwrap_or_default(),
    );
    fact("deadline", optional(spec.deadline));
    let edits = spec.earlier.len();
    let edited = (edits > 0).then(|| count(edits, "time"));
    fact("edited", edited.unwrap_or_default());
    fact("args", spec.args.get().to_owned());
    fact("progress", progress(record));
    fact(
        "result",
        result(record)
            .map(|json| json.get().to_owned())
            .unwrap_or_default(),
    );
    fact("error", indented(life.error.as_deref().unwrap_or_default()));
    if let Some(raw) = &record.raw {
        fact(
            "body",
            format!("{} unreadable bytes; --json has them in base64", raw.len()),
        );
    }
    lines.extend(attempts(record).iter().flat_map(attempt));
    lines
}

/// The state, and what it is about.
pub(crate) fn state_words(record: &Record) -> String {
    let life = &record.life;
    match (life.state.reason(), life.cancel_requested) {
        (Some(reason), _) => format!("{} ({reason})", life.state.kind()),
        (None, true) if !life.state.kind().is_terminal() => {
            format!("{} (cancel requested)", life.state.kind())
        }
        (None, _) => life.state.kind().to_string(),
    }
}

fn relative(time: Timestamp, now: Timestamp) -> String {
    if time > now {
        format!("in {}", age(time.since(now)))
    } else {
        format!("{} ago", age(now.since(time)))
    }
}

fn progress(record: &Record) -> String {
    record
        .progress
        .as_ref()
        .map_or_else(String::new, |progress| {
            format!("{}/{} {}", progress.done, progress.total, progress.message)
                .trim_end()
                .to_owned()
        })
}

fn attempt(attempt: &AttemptView<'_>) -> Vec<String> {
    let outcome = attempt
        .outcome
        .map_or("running", |outcome| outcome.as_str());
    let mut lines = vec![
        String::new(),
        format!(
            "  #{:<8} {outcome}, worker {}",
            attempt.number, attempt.worker
        ),
        format!(
            "            {} to {}",
            attempt.started_at,
            attempt.finished_at.as_deref().unwrap_or("now")
        ),
    ];
    if let Some(error) = attempt.error {
        lines.push(format!("  error     {}", indented(error)));
    }
    lines.extend(
        attempt
            .log
            .lines()
            .map(|line| format!("    | {}", printable(line))),
    );
    lines
}

/// Lines below each other, behind a ten-character name.
fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join("\n            ")
}

/// Nothing in a log may move the cursor of whoever looks at it.
pub(super) fn printable(line: &str) -> String {
    line.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
