//! `haul job done`, `fail` and `extend`: what came of a job that was pulled with --print.

use std::{io::Read, time::Duration};

use clap::Args;
use haul_common::{
    job::{BODY_BYTES_MAX, Failure, Json},
    life::Ended,
    protocol::{Extended, LeaseToken, Protocol, Settled},
    time::parse_duration,
};
use haul_producer::{JobId, StateKind};
use serde::Serialize;

use super::pull;
use crate::{
    exit::{Code, Exit},
    output,
    session::Session,
};

/// How long the backends may be away while an end is told.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which job succeeded, with what.
#[derive(Debug, Args)]
#[command(after_help = "\
Told again, the first time counts. Ends with 6 if the lease no longer holds, and says what happened
to the job.

Examples:
  haul job done \"$id\" --lease \"$lease\"
  haul job done \"$id\" --lease \"$lease\" --result '{\"sent\": 3}'
  ./measure | haul job done \"$id\" --lease \"$lease\" --result -")]
pub(crate) struct DoneArgs {
    /// The job's id
    id: JobId,
    /// What `lease` said in what haul job pull --print printed
    #[arg(long, value_name = "TOKEN")]
    lease: LeaseToken,
    /// Its result: JSON, or - for stdin
    #[arg(
        long,
        value_name = "JSON|-",
        default_value = "null",
        allow_hyphen_values = true
    )]
    result: String,
}

/// Which job failed, and how to go on.
#[derive(Debug, Args)]
#[command(after_help = "\
It is tried again as the job says, after its backoff, or is dead when that was its last attempt.
A job that was asked to stop is cancelled. Told again, the first time counts. Ends with 6 if the
lease no longer holds, and says what happened to the job.

Examples:
  haul job fail \"$id\" --lease \"$lease\" --error 'no route to host'
  haul job fail \"$id\" --lease \"$lease\" --error 'no such user' --fatal")]
pub(crate) struct FailArgs {
    /// The job's id
    id: JobId,
    /// What `lease` said in what haul job pull --print printed
    #[arg(long, value_name = "TOKEN")]
    lease: LeaseToken,
    /// What went wrong
    #[arg(long, value_name = "TEXT", default_value = "failed")]
    error: String,
    /// Do not try again
    #[arg(long)]
    fatal: bool,
    /// Try again after this long, instead of as the job says
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "fatal")]
    retry_after: Option<Duration>,
}

/// Which job goes on, for how long.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints until when. Ends with 3 if the job was asked to stop: then stop, and say haul job fail; it
will be cancelled. Ends with 6 if the lease no longer holds, and says what happened to the job.

Examples:
  haul job extend \"$id\" --lease \"$lease\"
  haul job extend \"$id\" --lease \"$lease\" --by 1h")]
pub(crate) struct ExtendArgs {
    /// The job's id
    id: JobId,
    /// What `lease` said in what haul job pull --print printed
    #[arg(long, value_name = "TOKEN")]
    lease: LeaseToken,
    /// The lease then ends so long from now, up to 24h
    #[arg(long, value_name = "DURATION", value_parser = pull::lease, default_value = "5m")]
    by: Duration,
}

#[derive(Debug, Serialize)]
struct SettledView<'a> {
    id: &'a JobId,
    state: StateKind,
    before: bool,
}

#[derive(Debug, Serialize)]
struct ExtendedView<'a> {
    id: &'a JobId,
    lease_until: String,
    cancel_requested: bool,
}

/// # Errors
/// When the result is none, or the lease does not hold.
pub(super) async fn done(session: &Session, args: DoneArgs) -> anyhow::Result<()> {
    let result = result(&args.result)?;
    settle(session, &args.id, &args.lease, Ended::Succeeded(result)).await
}

/// # Errors
/// When the lease does not hold.
pub(super) async fn fail(session: &Session, args: FailArgs) -> anyhow::Result<()> {
    let failure = match (args.fatal, args.retry_after) {
        (true, _) => Failure::fatal(&args.error),
        (false, Some(wait)) => Failure::retry_after(wait, &args.error),
        (false, None) => Failure::retry(&args.error),
    };
    settle(session, &args.id, &args.lease, Ended::Failed(failure)).await
}

async fn settle(
    session: &Session,
    id: &JobId,
    lease: &LeaseToken,
    ended: Ended,
) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let protocol = Protocol::new(producer.backend().clone());
    let told = tokio::time::timeout(PATIENCE, protocol.settle_lease(id, lease, ended)).await;
    let Settled { state, before } = told.map_err(|_| {
        Exit::with(
            Code::Unreachable,
            format!("job {id}: its end could not be written for {PATIENCE:?}; tell it again"),
        )
    })??;
    if before {
        session.say(format!("haul: job {id} was told so before; that counts"));
    }
    if session.json {
        return output::json(&SettledView { id, state, before });
    }
    output::line(format!("{id}  {state}"))
}

/// # Errors
/// When the lease does not hold, or the job was asked to stop.
pub(super) async fn extend(session: &Session, args: ExtendArgs) -> anyhow::Result<()> {
    let producer = session.connect().await?;
    let protocol = Protocol::new(producer.backend().clone());
    let Extended {
        until,
        cancel_requested,
    } = protocol.extend(&args.id, &args.lease, args.by).await?;
    if session.json {
        output::json(&ExtendedView {
            id: &args.id,
            lease_until: until.to_string(),
            cancel_requested,
        })?;
    } else {
        output::line(until)?;
    }
    if cancel_requested {
        return Err(Exit::with(
            Code::Unsuccessful,
            format!(
                "job {} was asked to stop: stop, then say haul job fail; the lease holds until \
                 {until}",
                args.id
            ),
        ));
    }
    Ok(())
}

/// Reads a result from where it is, and checks that it is JSON that can be kept.
fn result(given: &str) -> anyhow::Result<Json> {
    let mut text = given.to_owned();
    if given == "-" {
        text.clear();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Exit::usage(format!("cannot read --result from stdin: {error}")))?;
    }
    let size = text.len();
    if size > BODY_BYTES_MAX {
        return Err(Exit::usage(format!(
            "the result is {size} bytes, the limit is {BODY_BYTES_MAX}; give a reference to it"
        )));
    }
    serde_json::from_str(text.trim()).map_err(|error| {
        Exit::usage(format!(
            "--result is not JSON: {error}\n      write for example --result '{{\"sent\": 3}}', or \
             --result '\"some text\"'"
        ))
    })
}
