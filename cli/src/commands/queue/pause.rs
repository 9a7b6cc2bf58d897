//! `haul queue pause` and `haul queue resume`

use clap::Args;
use haul_producer::{Producer, QueueName};
use nix::unistd::{User, geteuid, gethostname};
use serde::Serialize;

use super::{PauseView, pause_words};
use crate::{output, session::Session};

/// Which queue, and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Workers stop taking jobs of the queue at once, or, if word does not reach one, with its next
heartbeat, within 3 s; so do those that start later. What runs goes on to its end, what they had
taken but not started goes back. Jobs can be submitted, and wait; haul job pull hands nothing out.

The pause is kept with the records, across restarts, until haul queue resume. Where Redis loses all
it knows, no queue is paused any more.

Examples:
  haul queue pause mail --reason 'mail.example is down'
  haul queue list
  haul queue resume mail")]
pub(crate) struct PauseArgs {
    /// The queue
    queue: QueueName,
    /// What for, for whoever looks
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Which queue.
#[derive(Debug, Args)]
#[command(after_help = "\
Workers take jobs of the queue again at once, or, if word does not reach one, with its next
heartbeat, within 3 s.

Examples:
  haul queue resume mail
  haul queue list --json | jq -r 'select(.paused) | .queue' | xargs -n1 haul queue resume")]
pub(crate) struct ResumeArgs {
    /// The queue
    queue: QueueName,
}

/// What came of it, as JSON.
#[derive(Debug, Serialize)]
struct OutcomeView<'a> {
    queue: &'a QueueName,
    outcome: &'a str,
    paused: Option<PauseView>,
}

/// Pauses the queue.
///
/// # Errors
/// When the store is away or full.
pub(super) async fn pause(session: &Session, args: PauseArgs) -> anyhow::Result<()> {
    let PauseArgs { queue, reason } = args;
    let producer = session.connect().await?;
    let new = producer.pause(&queue, &me(), reason.as_deref()).await?;
    // Nothing when somebody ended it just now.
    let pause = producer.pauses().await?.remove(&queue);
    if session.json {
        return output::json(&OutcomeView {
            queue: &queue,
            outcome: if new { "paused" } else { "already_paused" },
            paused: pause.as_ref().map(PauseView::from),
        });
    }
    let now = producer.backend().store.now();
    match pause.filter(|_| !new) {
        Some(pause) => output::line(format!(
            "{queue}  is paused already {}",
            pause_words(&pause, now)
        ))?,
        None => output::line(format!("{queue}  paused"))?,
    }
    if !is_known(&producer, &queue).await? {
        session.say(format!(
            "no job or worker of `{queue}` is known: if that is not its name, haul queue resume {queue}"
        ));
    }
    Ok(())
}

/// Ends its pause.
///
/// # Errors
/// When the store is away.
pub(super) async fn resume(session: &Session, args: ResumeArgs) -> anyhow::Result<()> {
    let queue = args.queue;
    let resumed = session.connect().await?.resume(&queue).await?;
    if session.json {
        return output::json(&OutcomeView {
            queue: &queue,
            outcome: if resumed { "resumed" } else { "not_paused" },
            paused: None,
        });
    }
    let words = if resumed { "goes on" } else { "was not paused" };
    output::line(format!("{queue}  {words}"))
}

async fn is_known(producer: &Producer, queue: &QueueName) -> anyhow::Result<bool> {
    let (counts, workers) = (producer.counts().await?, producer.workers().await?);
    let served = workers.iter().flat_map(|worker| worker.queues.keys());
    let mut known = counts.iter().map(|counts| &counts.queue).chain(served);
    Ok(known.any(|known| known == queue))
}

/// Who does this: user and host, as far as the system knows.
fn me() -> String {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    let user = user.map_or_else(|| uid.to_string(), |user| user.name);
    let host = gethostname().ok().and_then(|host| host.into_string().ok());
    host.map_or_else(|| user.clone(), |host| format!("{user}@{host}"))
}
