//! `haul job wait`

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use haul_common::{
    job::{Record, StateKind},
    time::parse_duration,
};
use haul_producer::{JobId, Producer, WaitError};

use super::show::state_words;
use crate::{
    exit::{self, Code, Exit},
    output,
    screen::talk,
    session::Session,
    view::{JobView, result},
};

/// Waits that go on at the same time.
const WAITS_AT_ONCE: usize = 1000;

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the result of each job as JSON, one on a line, in the order of the ids. Ends with 3 if any
ended dead or cancelled, 5 if any is unknown, 124 if any has not ended in time.

Examples:
  haul job wait \"$id\" --timeout 1m
  haul job wait $ids --json | jq 'select(.state != \"succeeded\")'")]
pub(crate) struct WaitArgs {
    /// Ids of jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// How long to wait, such as 30s or 5m [default: until they have ended]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Waits for the jobs.
///
/// # Errors
/// When one did not succeed, or not in time.
pub(super) async fn run(session: &Session, args: WaitArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let limit = args.timeout.unwrap_or(Duration::MAX);
    let began = tokio::time::Instant::now();
    let wait = |id| {
        let producer = &producer;
        async move {
            producer
                .wait(id, limit.saturating_sub(began.elapsed()))
                .await
        }
    };
    let mut ended = stream::iter(&args.ids).map(wait).buffered(WAITS_AT_ONCE);
    let mut worst = None;
    while let Some(answer) = ended.next().await {
        worst = worse(worst, print(session, answer)?);
    }
    worst.map_or(Ok(()), |code| Err(Exit::silent(code)))
}

/// Prints one end; says with which code the command is to end for it.
fn print(session: &Session, answer: Result<Record, WaitError>) -> anyhow::Result<Option<Code>> {
    let record = match answer {
        Ok(record) => record,
        Err(error @ (WaitError::NotFound(_) | WaitError::NotYet { .. })) => {
            talk(&format!("haul: {error}"));
            return Ok(Some(exit::wait(&error)));
        }
        Err(error) => return Err(error.into()),
    };
    if session.json {
        output::json(&JobView::from(&record))?;
    } else if let Some(result) = result(&record) {
        output::line(result)?;
    }
    let code = unsuccessful(&record);
    if code.is_some() && !session.json {
        talk(&complaint(&record));
    }
    Ok(code)
}

/// After a push: the id is printed already.
///
/// # Errors
/// When the job did not succeed, or not in time.
pub(super) async fn for_pushed(
    session: &Session,
    producer: &Producer,
    id: &JobId,
    limit: Duration,
) -> anyhow::Result<()> {
    let answer = producer.wait(id, limit).await;
    if session.json {
        let record = match &answer {
            Ok(record) => Some(record.clone()),
            Err(_) => producer.find(id).await?,
        };
        if let Some(record) = record {
            output::json(&JobView::from(&record))?;
        }
    }
    let record = answer?;
    match unsuccessful(&record) {
        None => Ok(()),
        Some(code) => {
            talk(&complaint(&record));
            Err(Exit::silent(code))
        }
    }
}

fn unsuccessful(record: &Record) -> Option<Code> {
    (record.life.state.kind() != StateKind::Succeeded).then_some(Code::Unsuccessful)
}

fn complaint(record: &Record) -> String {
    let error = record
        .life
        .error
        .as_deref()
        .unwrap_or("no error was recorded");
    format!(
        "haul: job {} is {}: {error}",
        record.spec.id,
        state_words(record)
    )
}

/// The worst news decides: unknown, then not in time, then not successful.
fn worse(one: Option<Code>, other: Option<Code>) -> Option<Code> {
    let rank = |code: &Code| match code {
        Code::NotFound => 3,
        Code::TimedOut => 2,
        _ => 1,
    };
    [one, other].into_iter().flatten().max_by_key(rank)
}
