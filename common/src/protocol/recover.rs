//! What heals: jobs of workers that vanished, and what a store forgot.

use std::time::Duration;

use super::{Assignment, Protocol, ProtocolError};
use crate::{
    faults::{self, Bug},
    job::{Record, Spec, WorkerId},
    life::{Life, crash_limit_reached, reassert},
    ports::{Applied, Created, InHand},
};

impl Protocol {
    /// Takes up to `limit` jobs that nobody runs, of workers that vanished or by the record of `me`
    /// only, and sends them on; says how many.
    ///
    /// The message of a vanished worker's job still exists, held by its lost delivery or by its
    /// guard. This is only sooner. Hence the order: record first, so that of many janitors one
    /// sends.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn take_orphans(
        &self,
        me: &WorkerId,
        in_hand: InHand<'_>,
        limit: usize,
    ) -> Result<usize, ProtocolError> {
        let orphans = self.backend.store.orphans(me, in_hand, limit).await?;
        if faults::planted(Bug::SweepByIdOnly) {
            // Time enough for what it saw to be no longer so.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        let mut taken = 0;
        for orphan in orphans {
            taken += usize::from(self.take_orphan(me, orphan).await?);
        }
        Ok(taken)
    }

    async fn take_orphan(&self, me: &WorkerId, mut orphan: Record) -> Result<bool, ProtocolError> {
        let now = self.backend.store.now();
        let lost = if orphan.life.state.worker() == Some(me) {
            orphan.life.disown(now)
        } else if crash_limit_reached(&orphan.life, &orphan.spec) {
            orphan.life.lose_for_good(now)
        } else {
            orphan.life.lose(now)
        };
        let Ok(mut step) = lost else { return Ok(false) };
        if let Some(attempt) = &mut step.ended {
            attempt.log = std::mem::take(&mut orphan.log);
        }
        let life = step.life.clone();
        if faults::planted(Bug::SweepByIdOnly)
            && let Some(now) = self.backend.store.find(&orphan.spec.id).await?
        {
            step.from = now.life.version();
        }
        let applied = self
            .backend
            .store
            .apply(Self::change(&orphan, step.clone()))
            .await?;
        if !matches!(applied, Applied::Done) {
            return Ok(false);
        }
        Self::count(&orphan.spec, &step);
        // A crash here leaves a queued job whose only message is the one that its lost worker held.
        faults::point("take_orphan.recorded");
        tracing::warn!(job = %orphan.spec.id, attempt = orphan.life.attempt, state = %life.state.kind(),
            "nobody runs it any more");
        if life.state.kind().is_terminal() {
            self.publish_what_follows(&orphan.spec, &life).await?;
        } else {
            self.send_again(&orphan.spec, &life).await?;
        }
        Ok(true)
    }

    /// Publishes another message for a job that waits. Where there was one after all, a claim drops
    /// the copy.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn send_again(&self, spec: &Spec, life: &Life) -> Result<(), ProtocolError> {
        let copy = Self::vehicle(spec, life, Duration::ZERO, false);
        self.publish(&spec.id, copy).await
    }

    /// Tells the store again of an attempt that runs, and that it has forgotten: else its message
    /// would start it once more. Says whether the attempt still counts.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn reassert(&self, assignment: &Assignment) -> Result<bool, ProtocolError> {
        let Assignment {
            spec,
            life,
            created,
            ..
        } = assignment;
        let store = &self.backend.store;
        let Some(stored) = store.find(&spec.id).await? else {
            let record = Record::new(spec.clone(), life.clone(), *created);
            return Ok(store.create(vec![record]).await? != [Created::Conflict]);
        };
        match reassert(life, &stored.life) {
            // It lost an edit too.
            Some(step) if stored.spec.digest() != spec.digest() => {
                drop(store.apply(Self::edit_to(&stored, step, spec)).await?);
            }
            Some(step) => drop(store.apply(Self::change(&stored, step)).await?),
            // Somebody else's end. Of anything later, the next heartbeat tells.
            None if stored.life.fence < life.fence => return Ok(false),
            None => {}
        }
        Ok(true)
    }
}
