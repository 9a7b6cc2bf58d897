//! Bury: what cannot be run, and what the broker gave up on, becomes a dead job that people see.
//!
//! One record for each message. Its id is the message's own, if that is one and free; else one that
//! follows from what the message says, so that a message that comes again, after a crash, finds the
//! record that was made of it.

use sha2::{Digest as _, Sha256};

use super::{Protocol, ProtocolError, Receipt};
use crate::{
    job::{BODY_BYTES_MAX, Envelope, JobId, Reason, Record},
    life::Life,
    metrics,
    ports::{Applied, Created, Delivery, Publication, Route, Verdict},
    wire::{self, Malformed, Message},
};

impl Protocol {
    /// The id belongs to another job, which is left alone: this one gets an id of its own.
    pub(super) async fn bury_conflict(&self, envelope: Envelope) -> Result<Receipt, ProtocolError> {
        let message = wire::encode(&envelope);
        let mut spec = envelope.spec;
        let taken = std::mem::replace(&mut spec.id, stand_in(&message));
        let error = format!(
            "another job, with another task or other arguments, has its id `{taken}`; it was given \
             a new one"
        );
        tracing::warn!(job = %spec.id, %taken, "a message with a taken id is kept as dead");
        let now = self.backend.store.now();
        let record = Record::new(spec, Life::stillborn(Reason::Rejected, error, now), now);
        if self.backend.store.create(vec![record.clone()]).await? == [Created::New] {
            metrics::dead(&record.spec.queue, Reason::Rejected);
        }
        self.publish(
            &record.spec.id,
            Self::dead_letter(&record.spec, &record.life),
        )
        .await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Keeps what cannot be read as a dead job, with its reason and its bytes. `astray`: no queue
    /// wanted it.
    pub(super) async fn bury_malformed(
        &self,
        delivery: &Delivery,
        error: &Malformed,
        astray: bool,
    ) -> Result<Receipt, ProtocolError> {
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        let message = &delivery.message;
        let spec = wire::salvage(message, (queue, lane));
        let now = self.backend.store.now();
        let life = Life::stillborn(Reason::Malformed, error.to_string(), now);
        let mut record = Record::new(spec, life, now);
        let kept = message.body.len().min(BODY_BYTES_MAX);
        record.raw = Some(message.body[..kept].to_vec());
        let new = self.keep(&mut record, message).await?;
        if new {
            metrics::dead(queue, Reason::Malformed);
            tracing::warn!(job = %record.spec.id, %queue, field = error.field, "a malformed message is kept as dead");
        } else if astray {
            // The dead letter that was made of it, for a queue that has no place for those.
            return Ok(Receipt::Settle(Verdict::Ack));
        }
        let letter = Publication {
            message: wire::dead(message.clone(), &record.spec, &record.life),
            route: Route::Dead(queue.clone()),
        };
        self.publish(&record.spec.id, letter).await?;
        Ok(Receipt::Settle(Verdict::Ack))
    }

    /// Writes a record under the first id that no other job has; says whether it is new.
    async fn keep(&self, record: &mut Record, message: &Message) -> Result<bool, ProtocolError> {
        let store = &self.backend.store;
        for id in [record.spec.id.clone(), stand_in(message), JobId::new()] {
            record.spec.id = id;
            if store.create(vec![record.clone()]).await? == [Created::New] {
                return Ok(true);
            }
            let known = store.find(&record.spec.id).await?;
            if known.is_some_and(|known| is_of(record, &known)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Buries a message that no queue wanted, or that the broker gave up on.
    ///
    /// # Errors
    /// When a backend is away.
    pub async fn bury_lost(&self, delivery: &Delivery) -> Result<Verdict, ProtocolError> {
        let (queue, lane) = (&delivery.origin.0, delivery.origin.1);
        let now = self.backend.store.now();
        let envelope = match wire::decode(&delivery.message, (queue, lane), now) {
            Ok(envelope) => envelope,
            Err(error) => {
                let astray = delivery.given_up.is_none();
                self.bury_malformed(delivery, &error, astray).await?;
                return Ok(Verdict::Ack);
            }
        };
        let (reason, error) = match &delivery.given_up {
            Some(why) => (
                Reason::Crashed,
                format!("the broker gave up on its message: {why}"),
            ),
            None => (
                Reason::Rejected,
                format!("no queue `{queue}` was there for it; start a worker for it, then retry"),
            ),
        };
        let record = self.recreated(&envelope);
        let created = self.backend.store.create(vec![record.clone()]).await?;
        let known = self.backend.store.find(&record.spec.id).await?;
        if created == [Created::Conflict] {
            // Of an edited job, the message as it was before is as good as lost: the new one counts.
            let is_old = |known: &Record| known.spec.was(record.spec.digest());
            if !known.as_ref().is_some_and(is_old) {
                self.bury_conflict(envelope).await?;
            }
            return Ok(Verdict::Ack);
        }
        let record = known.unwrap_or(record);
        // A job that runs needs no message of its own any more.
        let Ok(step) = record.life.give_up(reason, error, now) else {
            // Ended by an earlier try, perhaps, that did not come to publish. Not for what had no
            // queue: its letter has none either, and comes here again.
            if record.life.state.kind().is_terminal() && delivery.given_up.is_some() {
                self.publish_what_follows(&record.spec, &record.life)
                    .await?;
            }
            return Ok(Verdict::Ack);
        };
        let life = step.life.clone();
        let applied = self
            .backend
            .store
            .apply(Self::change(&record, step))
            .await?;
        if matches!(applied, Applied::Done) {
            metrics::dead(queue, reason);
            tracing::warn!(job = %record.spec.id, %queue, %reason, "a lost message is kept as dead");
            self.publish(&record.spec.id, Self::dead_letter(&record.spec, &life))
                .await?;
        }
        Ok(Verdict::Ack)
    }
}

/// Whether both were made of the same message.
fn is_of(record: &Record, known: &Record) -> bool {
    known.raw == record.raw && known.life.error == record.life.error
}

/// An id that follows from what the message says.
fn stand_in(message: &Message) -> JobId {
    let mut hash = Sha256::new();
    // A head is plain text and numbers: there is nothing in it that JSON cannot say.
    hash.update(serde_json::to_vec(&message.head).unwrap_or_default());
    hash.update(&message.body);
    JobId::of_hash(&hash.finalize()[..16])
}
