//! What the janitor does: takes jobs from workers that vanished.

use std::time::Duration;

use super::{Protocol, ProtocolError};
use crate::{faults, job::Record, life::crash_limit_reached, ports::Applied};

impl Protocol {
    /// Takes up to `limit` jobs from workers that vanished and sends them on; says how many.
    ///
    /// The message of such a job still exists, held by its lost delivery or by its guard. This is
    /// only sooner. Hence the order: record first, so that of many janitors one sends.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn take_orphans(&self, limit: usize) -> Result<usize, ProtocolError> {
        let orphans = self.backend.store.orphans(limit).await?;
        let mut taken = 0;
        for orphan in orphans {
            taken += usize::from(self.take_orphan(orphan).await?);
        }
        Ok(taken)
    }

    async fn take_orphan(&self, mut orphan: Record) -> Result<bool, ProtocolError> {
        let now = self.backend.store.now();
        let for_good = crash_limit_reached(&orphan.life, &orphan.spec);
        let lost = if for_good {
            orphan.life.lose_for_good(now)
        } else {
            orphan.life.lose(now)
        };
        let Ok(mut step) = lost else { return Ok(false) };
        if let Some(attempt) = &mut step.ended {
            attempt.log = std::mem::take(&mut orphan.log);
        }
        let life = step.life.clone();
        let applied = self
            .backend
            .store
            .apply(Self::change(&orphan, step))
            .await?;
        if !matches!(applied, Applied::Done) {
            return Ok(false);
        }
        // A crash here leaves a queued job whose only message is the one that its lost worker held.
        faults::point("take_orphan.recorded");
        tracing::warn!(job = %orphan.spec.id, attempt = orphan.life.attempt, state = %life.state.kind(),
            "its worker vanished");
        if for_good {
            self.publish_what_follows(&orphan.spec, &life).await?;
        } else {
            let next = Self::vehicle(&orphan.spec, &life, Duration::ZERO, false);
            self.publish(&orphan.spec.id, next).await?;
        }
        Ok(true)
    }
}
