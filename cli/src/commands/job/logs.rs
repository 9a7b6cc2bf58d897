//! `haul job logs`

use std::io::{self, IsTerminal};

use clap::Args;
use futures_util::StreamExt;
use haul_common::job::{Fence, Outcome, WorkerId};
use haul_producer::{JobId, Producer, Record, State, StateKind};
use serde::Serialize;

use super::show::{find, printable};
use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
    signals::Signals,
};

/// Which log.
#[derive(Debug, Args)]
#[command(after_help = "\
The log of an attempt is what its handler logged and what a command printed, line by line, on both
streams: the last 64 KiB of it. Without --attempt it is that of the latest attempt. A number may
have been given twice, to an attempt that was given back or after a retry; then it is the later one.

With --follow, what is logged is printed as it comes, of this attempt and of those that follow it,
until the job ends; it ends with 3 if that is dead or cancelled. --json prints an object for each
attempt, and with --follow for each piece.

Examples:
  haul job logs \"$id\"
  haul job logs \"$id\" --attempt 1 | grep -i error
  haul job logs \"$id\" -f")]
pub(crate) struct LogsArgs {
    /// The job's id
    id: JobId,
    /// The attempt with this number [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Go on printing until the job, or the attempt, has ended
    #[arg(short, long)]
    follow: bool,
}

/// The log of an attempt, as far as it is known.
#[derive(Debug)]
struct Log<'a> {
    number: u32,
    fence: Fence,
    worker: &'a WorkerId,
    outcome: Option<Outcome>,
    text: &'a str,
}

/// A piece of a log, as JSON.
#[derive(Debug, Serialize)]
struct LogView<'a> {
    id: &'a JobId,
    attempt: u32,
    worker: &'a WorkerId,
    outcome: Option<Outcome>,
    log: &'a str,
}

/// Prints the log.
///
/// # Errors
/// When there is no such job or attempt; when a job that was followed did not succeed.
pub(super) async fn run(session: &Session, args: LogsArgs) -> anyhow::Result<()> {
    let signals = args.follow.then(Signals::new).transpose()?;
    let producer = session.connect().await?;
    let record = find(&producer, &args.id).await?;
    if let Some(signals) = signals {
        return follow(session, &producer, &args, signals).await;
    }
    let all = logs(&record);
    let wanted = all
        .iter()
        .rev()
        .find(|log| args.attempt.is_none_or(|number| number == log.number));
    match wanted {
        Some(log) => print(session, &args.id, log, log.text),
        None => missing(session, &record, args.attempt),
    }
}

/// Every attempt that is known, oldest first, with the one that runs.
fn logs(record: &Record) -> Vec<Log<'_>> {
    let mut logs: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| Log {
            number: attempt.number,
            fence: attempt.fence,
            worker: &attempt.worker,
            outcome: Some(attempt.outcome),
            text: &attempt.log,
        })
        .collect();
    if let State::Running { worker, .. } = &record.life.state {
        logs.push(Log {
            number: record.life.attempt,
            fence: record.life.fence,
            worker,
            outcome: None,
            text: &record.log,
        });
    }
    logs
}

fn missing(session: &Session, record: &Record, attempt: Option<u32>) -> anyhow::Result<()> {
    let (id, state) = (&record.spec.id, record.life.state.kind());
    let Some(number) = attempt else {
        session.say(format!("job {id} is {state}; no attempt of it is known"));
        return Ok(());
    };
    let known = logs(record);
    let known: Vec<String> = known.iter().map(|log| log.number.to_string()).collect();
    let known = match known.len() {
        0 => "none has begun".to_owned(),
        _ => format!("known are: {}", known.join(", ")),
    };
    Err(Exit::with(
        Code::NotFound,
        format!("job {id} has no attempt {number}; {known}"),
    ))
}

/// Prints a piece of a log.
fn print(session: &Session, id: &JobId, log: &Log<'_>, piece: &str) -> anyhow::Result<()> {
    if session.json {
        return output::json(&LogView {
            id,
            attempt: log.number,
            worker: log.worker,
            outcome: log.outcome,
            log: piece,
        });
    }
    if !io::stdout().is_terminal() {
        return output::text(piece);
    }
    let lines: Vec<String> = piece.lines().map(printable).collect();
    output::text(&lines.join("\n"))
}

/// How far a log was printed.
#[derive(Debug, Default)]
struct Seen {
    /// The first attempt that is wanted: the latest when this began, or whichever comes.
    from: Option<Fence>,
    /// The last one that was printed.
    fence: Option<Fence>,
    text: String,
}

async fn follow(
    session: &Session,
    producer: &Producer,
    args: &LogsArgs,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let mut records = std::pin::pin!(producer.watch(&args.id).await?);
    let mut seen = Seen::default();
    let mut last = None;
    loop {
        let record = tokio::select! {
            record = records.next() => record,
            code = signals.next() => return Err(Exit::silent(code)),
        };
        let Some(record) = record else { break };
        let is_over = seen.advance(session, &record, args.attempt)?;
        last = Some(record);
        if is_over {
            break;
        }
    }
    let Some(record) = last else { return Ok(()) };
    if seen.fence.is_none() {
        return missing(session, &record, args.attempt);
    }
    let unsuccessful = matches!(
        record.life.state.kind(),
        StateKind::Dead | StateKind::Cancelled
    );
    match args.attempt {
        None if unsuccessful => Err(Exit::silent(Code::Unsuccessful)),
        _ => Ok(()),
    }
}

impl Seen {
    /// Prints what is new; says whether the attempt that is followed has ended.
    fn advance(
        &mut self,
        session: &Session,
        record: &Record,
        attempt: Option<u32>,
    ) -> anyhow::Result<bool> {
        let all = logs(record);
        let wanted = |log: &&Log<'_>| attempt.is_none_or(|number| number == log.number);
        let latest = all.iter().rev().find(wanted);
        let latest_fence = latest.map_or(Fence(0), |log| log.fence);
        let from = (*self.from.get_or_insert(latest_fence)).max(self.fence.unwrap_or(Fence(0)));
        for log in all.iter().filter(|log| log.fence >= from).filter(wanted) {
            self.print(session, record, log)?;
        }
        Ok(attempt.is_some() && latest.is_some_and(|log| log.outcome.is_some()))
    }

    fn print(&mut self, session: &Session, record: &Record, log: &Log<'_>) -> anyhow::Result<()> {
        let id = &record.spec.id;
        if self.fence != Some(log.fence) {
            if self.fence.is_some() && !session.json {
                session.say(format!(
                    "haul: attempt {}, worker {}",
                    log.number, log.worker
                ));
            }
            self.fence = Some(log.fence);
            self.text.clear();
        }
        let (piece, is_whole) = news(&self.text, log.text);
        if !is_whole {
            session.say("haul: more was logged than is kept; some lines are missing here");
        }
        if !piece.is_empty() {
            print(session, id, log, piece)?;
        }
        log.text.clone_into(&mut self.text);
        Ok(())
    }
}

/// What `now` has that `before` had not; and whether nothing is missing between them. Of a log its
/// tail is kept, so that its beginning may be gone.
fn news<'a>(before: &str, now: &'a str) -> (&'a str, bool) {
    let lines = before.match_indices('\n').map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(lines);
    for start in starts.take_while(|start| *start < before.len()) {
        if let Some(rest) = now.strip_prefix(&before[start..]) {
            return (rest, true);
        }
    }
    (now, before.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_of_a_log_is_news() {
        assert_eq!(news("", "a\nb\n"), ("a\nb\n", true));
        assert_eq!(news("a\n", "a\nb\n"), ("b\n", true));
        assert_eq!(news("a\nb\n", "a\nb\n"), ("", true));
    }

    #[test]
    fn of_a_log_that_lost_its_beginning_the_rest_is_found() {
        assert_eq!(news("a\nb\nc\n", "c\nd\n"), ("d\n", true));
        assert_eq!(news("a\nb\n", "x\ny\n"), ("x\ny\n", false));
    }
}
