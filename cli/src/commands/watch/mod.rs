//! Watching jobs until they have ended: `haul batch watch`, `haul job watch`.
//!
//! [`target`] counts what is watched, [`pace`] makes rate and time left of counts, [`view`] shows
//! them: bars on a terminal, a line for each change elsewhere.

mod pace;
mod target;
mod view;

use std::time::Duration;

use clap::Args;
use haul_common::time::parse_duration;
use haul_producer::{Producer, StateKind, StoreError};
use tokio::time::{MissedTickBehavior, interval};

pub(super) use self::target::Target;
use self::{target::Counts, view::View};
use crate::{
    exit::{Code, Exit},
    session::Session,
    signals::Signals,
};

/// How it is watched.
#[derive(Debug, Args)]
pub(super) struct WatchOptions {
    /// How often to look
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "500ms")]
    interval: Duration,
}

/// More often than this shows nothing that an eye could see.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Shows how many jobs are in which state until all have ended.
///
/// # Errors
/// When nothing is known of them, when one ended dead or cancelled, or when it was interrupted.
pub(super) async fn watch(
    session: &Session,
    producer: &Producer,
    mut target: Target,
    options: &WatchOptions,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut clock = interval(options.interval.max(INTERVAL_MIN));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some(mut counts) = target.look(producer).await? else {
        return Err(target.unknown());
    };
    let mut view = View::new(session, &target)?;
    loop {
        view.show(&counts)?;
        if is_over(&counts) {
            view.finish(&counts)?;
            return verdict(session, &target, &counts);
        }
        let next = async {
            clock.tick().await;
            look(&mut view, &mut target, producer).await
        };
        counts = tokio::select! {
            next = next => match next? {
                Some(counts) => counts,
                None => return Err(target.forgotten()),
            },
            code = signals.next() => {
                view.close();
                session.say("haul: no longer watching; the jobs go on");
                return Err(Exit::silent(code));
            }
        };
    }
}

/// Looks again, as long as it takes until the store is there.
async fn look(
    view: &mut View<'_>,
    target: &mut Target,
    producer: &Producer,
) -> Result<Option<Counts>, StoreError> {
    const PATIENCE: Duration = Duration::from_secs(1);
    loop {
        match target.look(producer).await {
            Err(error) if error.is_retryable() => view.doubt(&error),
            answer => return answer,
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

fn is_over(counts: &Counts) -> bool {
    counts.keys().all(|state| state.is_terminal())
}

fn verdict(session: &Session, target: &Target, counts: &Counts) -> anyhow::Result<()> {
    let of = |state| counts.get(&state).copied().unwrap_or(0);
    let (dead, cancelled) = (of(StateKind::Dead), of(StateKind::Cancelled));
    if dead + cancelled == 0 {
        return Ok(());
    }
    if let (Target::Batch(batch), 1..) = (target, dead) {
        session.say(format!(
            "  next    haul batch report {batch}\n          haul batch retry {batch}"
        ));
    }
    Err(Exit::silent(Code::Unsuccessful))
}
