//! What a job remembers while the receiver puts it off: where to ask again, and since when.

use std::time::Duration;

use haul_common::{
    job::{Failure, FailureKind},
    time::{Timestamp, show_duration},
};
use serde::{Deserialize, Serialize};

use crate::Context;

/// The job's checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// When the receiver first put the job off.
    since: Option<Timestamp>,
    /// Where to ask what became of it; nothing for the same request again.
    #[serde(default)]
    pub(super) poll: Option<String>,
}

impl Waiting {
    pub(super) async fn recall<S>(ctx: &Context<S>) -> Result<Self, Failure>
    where
        S: Send + Sync + 'static,
    {
        // A first start has nothing to remember.
        if ctx.core.assignment.life.starts <= 1 {
            return Ok(Self::default());
        }
        Ok(ctx.checkpoint().await?.unwrap_or_default())
    }

    /// Takes note of a failure. What costs no attempt does so for as long as the job is patient:
    /// after that, being asked for less is a failure as any other, and a poll is given up. What is
    /// given up leaves nothing behind: sent round again, the job starts afresh.
    pub(super) fn note(&mut self, failure: Failure, now: Timestamp, patience: Duration) -> Failure {
        let failure = self.bound(failure, now, patience);
        if failure.kind() == FailureKind::Fatal {
            *self = Self::default();
        }
        failure
    }

    fn bound(&mut self, failure: Failure, now: Timestamp, patience: Duration) -> Failure {
        if !matches!(
            failure.kind(),
            FailureKind::Throttled(_) | FailureKind::Postponed(_)
        ) {
            return failure;
        }
        let since = *self.since.get_or_insert(now);
        let is_over = now.since(since) >= patience;
        match failure.kind() {
            FailureKind::Throttled(wait) if is_over => Failure::retry_after(
                wait,
                format!("{}, for {} now", failure.message(), show_duration(patience)),
            ),
            FailureKind::Postponed(_) if is_over => Failure::fatal(format!(
                "{}; given up after {}",
                failure.message(),
                show_duration(patience)
            )),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let (wait, hour) = (Duration::from_secs(5), Duration::from_secs(3600));
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut waiting = Waiting::default();
        let mut bound = |failure, now| waiting.note(failure, at(now), hour);
        let poll = || Failure::postponed(wait, "later");
        assert_eq!(bound(poll(), 100).kind(), FailureKind::Postponed(wait));
        let less = || Failure::throttled(wait, "less");
        assert_eq!(bound(less(), 3699).kind(), FailureKind::Throttled(wait));
        let over = bound(less(), 3700);
        assert_eq!(over.kind(), FailureKind::RetryAfter(wait));
        assert_eq!(over.message(), "less, for 1h now");
        let over = bound(poll(), 3700);
        assert_eq!(over.kind(), FailureKind::Fatal);
        assert_eq!(over.message(), "later; given up after 1h");
        assert_eq!(waiting, Waiting::default());
    }
}
