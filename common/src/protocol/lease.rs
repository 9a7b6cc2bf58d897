//! Leases: a job for a program that is no worker of ours, for a time that is fixed beforehand.
//!
//! To everybody else the holder of a lease is a worker of its own, alive until the lease ends. So
//! what heals the jobs of workers that vanish gives back the job of a lease that runs out, and a
//! fence keeps its late end from counting.
//!
//! * take: a short lease → claim → guard, confirmed → acknowledge → the whole lease.
//! * settle: as every attempt (`finish`); the guard finds an ended job, or carries the next attempt.
//!
//! Whoever crashes while it takes a job leaves a short lease behind, which runs out soon. A crash
//! while it settles leaves a record whose message the guard carries, unless the end is told again.

use std::{fmt, str::FromStr, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{Assignment, Finished, Protocol, ProtocolError, Receipt};
use crate::{
    faults,
    job::{Attempt, FailureKind, Fence, JobId, Outcome, Record, StateKind, WorkerId},
    life::Ended,
    ports::Delivery,
    time::Timestamp,
};

/// No lease is longer: a job whose program vanished comes back at the end of it only.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long the taking of a job may take, unless its lease is shorter. Its guard is to come after the lease's end.
const TAKING: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_secs(1);

/// The right to settle one attempt. What records tell of it, a hash, does not give it away.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseToken {
    secret: String,
    fence: Fence,
    /// Which job it is for: a store that has lost the claim could not tell.
    mark: String,
}

impl LeaseToken {
    fn new(secret: String, fence: Fence, id: &JobId) -> Self {
        let mark = Sha256::digest(format!("{secret}.{} {id}", fence.0));
        Self {
            mark: mark[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
            secret,
            fence,
        }
    }

    fn holder(secret: &str) -> WorkerId {
        WorkerId::of_lease(&Sha256::digest(secret)[..16])
    }

    fn is_for(&self, id: &JobId) -> bool {
        *self == Self::new(self.secret.clone(), self.fence, id)
    }

    fn is_of(&self, attempt: &Attempt) -> bool {
        attempt.fence == self.fence && attempt.worker == Self::holder(&self.secret)
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.secret, self.fence.0, self.mark)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseToken").finish_non_exhaustive()
    }
}

/// Text that is no lease token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a lease token; it is what `lease` says in what haul job pull --print printed")]
pub struct NoToken;

impl FromStr for LeaseToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.split('.');
        let (Some(secret), Some(fence), Some(mark), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        if secret.len() != 32 || mark.len() != 8 || !are_digits(secret) || !are_digits(mark) {
            return Err(NoToken);
        }
        Ok(Self {
            secret: secret.to_owned(),
            fence: Fence(fence.parse().map_err(|_| NoToken)?),
            mark: mark.to_owned(),
        })
    }
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The attempt.
    pub assignment: Assignment,
    /// The right to settle it.
    pub token: LeaseToken,
    /// When it is given back, unless that is put off.
    pub until: Timestamp,
}

/// A lease that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// When the job is given back.
    pub until: Timestamp,
    /// Somebody asked the job to stop.
    pub cancel_requested: bool,
}

/// What became of an end that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The job's state.
    pub state: StateKind,
    /// The same end had been told before.
    pub before: bool,
}

/// A lease that gives no right.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// No such job.
    #[error("no job {0} is known: never submitted here, or forgotten since")]
    NotFound(JobId),
    /// It is over, or was never for this job.
    #[error("the lease of job {id} does not hold: {why}")]
    Over {
        /// Which job.
        id: JobId,
        /// What happened.
        why: String,
    },
    /// A backend failed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

impl From<crate::ports::StoreError> for LeaseError {
    fn from(error: crate::ports::StoreError) -> Self {
        Self::Protocol(error.into())
    }
}

impl Protocol {
    /// Takes the job that `delivery` is about for so long; nothing when it is not for us. Either
    /// way the delivery is settled.
    ///
    /// # Errors
    /// When a backend is away; the delivery then goes back.
    pub async fn lease(
        &self,
        delivery: Delivery,
        lease: Duration,
    ) -> Result<Option<Leased>, ProtocolError> {
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let holder = LeaseToken::holder(&secret);
        let receipt = match self.begin(&delivery, &holder, lease).await {
            Ok(receipt) => receipt,
            Err(error) => {
                delivery.settlement.release();
                return Err(error);
            }
        };
        let assignment = match receipt {
            Receipt::Run(assignment) => *assignment,
            Receipt::Settle(verdict) => {
                delivery.settlement.settle(verdict);
                self.backend.store.retire(&holder).await?;
                return Ok(None);
            }
        };
        let mut settlement = Some(delivery.settlement);
        if let Err(error) = self
            .guard(&assignment, lease + AFTER, &mut settlement)
            .await
        {
            self.finish(&assignment, Ended::Released, String::new(), settlement)
                .await?;
            return Err(error);
        }
        // A crash here leaves a job that comes back when the short lease has run out.
        faults::point("lease.guarded");
        let until = self.backend.store.lease(&holder, lease, true).await?;
        Ok(until.map(|until| Leased {
            token: LeaseToken::new(secret, assignment.life.fence, &assignment.spec.id),
            assignment,
            until,
        }))
    }

    /// Alive before the claim: else it would look like an orphan's.
    async fn begin(
        &self,
        delivery: &Delivery,
        holder: &WorkerId,
        lease: Duration,
    ) -> Result<Receipt, ProtocolError> {
        let taking = lease.min(TAKING);
        self.backend.store.lease(holder, taking, false).await?;
        self.receive(delivery, holder, |_| false).await
    }

    /// Lets a lease end so long from now instead; says whether the job was asked to stop.
    ///
    /// # Errors
    /// When it has ended already, even if nobody has the job yet: it may be on its way.
    pub async fn extend(
        &self,
        id: &JobId,
        token: &LeaseToken,
        lease: Duration,
    ) -> Result<Extended, LeaseError> {
        let assignment = self.held(&self.known(id).await?, token)?;
        let holder = LeaseToken::holder(&token.secret);
        let over = |why: &str| LeaseError::Over {
            id: id.clone(),
            why: why.to_owned(),
        };
        let Some(until) = self.backend.store.lease(&holder, lease, true).await? else {
            return Err(over(
                "it ran out; until somebody else takes the job, its end still counts",
            ));
        };
        if !self.reassert(&assignment).await? {
            return Err(over("the job has ended"));
        }
        Ok(Extended {
            until,
            cancel_requested: assignment.life.cancel_requested,
        })
    }

    /// Tells how the attempt ended. Told again, it is told what came of it the first time.
    ///
    /// # Errors
    /// When the attempt no longer counts, with what happened to the job.
    pub async fn settle_lease(
        &self,
        id: &JobId,
        token: &LeaseToken,
        ended: Ended,
    ) -> Result<Settled, LeaseError> {
        let record = self.known(id).await?;
        let told = record.attempts.iter().find(|attempt| token.is_of(attempt));
        if told.is_some_and(|attempt| is_of(attempt.outcome, &ended)) {
            if record.life.fence == token.fence {
                // A crash may have come between the record and what follows it.
                self.publish_what_follows(&record.spec, &record.life)
                    .await?;
            }
            let state = record.life.state.kind();
            return Ok(Settled {
                state,
                before: true,
            });
        }
        let assignment = self.held(&record, token)?;
        let ended = heed(&assignment, ended);
        match self.finish(&assignment, ended, record.log, None).await? {
            Finished::Recorded(life) => {
                let holder = LeaseToken::holder(&token.secret);
                self.backend.store.retire(&holder).await?;
                Ok(Settled {
                    state: life.state.kind(),
                    before: false,
                })
            }
            Finished::Refused => Err(over(&self.known(id).await?, token)),
        }
    }

    async fn known(&self, id: &JobId) -> Result<Record, LeaseError> {
        let found = self.backend.store.find(id).await?;
        found.ok_or_else(|| LeaseError::NotFound(id.clone()))
    }

    /// The attempt that the lease is for, while it counts.
    fn held(&self, record: &Record, token: &LeaseToken) -> Result<Assignment, LeaseError> {
        let Record {
            spec,
            life,
            created,
            ..
        } = record;
        let holder = LeaseToken::holder(&token.secret);
        let life = if life.fence == token.fence && life.state.worker() == Some(&holder) {
            life.clone()
        } else if life.fence < token.fence
            && token.is_for(&spec.id)
            && let Ok(claim) = life.claim(holder, token.fence, self.backend.store.now())
        {
            // The store is behind: it has lost the claim.
            claim.life
        } else {
            return Err(over(record, token));
        };
        Ok(Assignment {
            spec: spec.clone(),
            life,
            created: *created,
            due: *created,
        })
    }
}

/// A program that was asked to stop, and says that it failed, has stopped.
fn heed(assignment: &Assignment, ended: Ended) -> Ended {
    match ended {
        Ended::Failed(failure)
            if assignment.life.cancel_requested && failure.kind() != FailureKind::Fatal =>
        {
            Ended::Cancelled { forced: false }
        }
        ended => ended,
    }
}

/// Whether an attempt that ended like this was told so.
const fn is_of(outcome: Outcome, ended: &Ended) -> bool {
    match ended {
        Ended::Succeeded(_) => matches!(outcome, Outcome::Succeeded),
        Ended::Failed(_) => matches!(outcome, Outcome::Failed | Outcome::Cancelled),
        _ => false,
    }
}

/// What happened to the job instead.
fn over(record: &Record, token: &LeaseToken) -> LeaseError {
    let Record { spec, life, .. } = record;
    let now = format!("the job is {}, attempt {}", life.state.kind(), life.attempt);
    let own = record.attempts.iter().find(|attempt| token.is_of(attempt));
    let why = match own {
        Some(attempt) if attempt.outcome == Outcome::Lost => {
            format!(
                "it ran out, and the job was given back at {}; {now}",
                attempt.finished
            )
        }
        Some(attempt) => format!(
            "its attempt ended as {} at {}; {now}",
            attempt.outcome, attempt.finished
        ),
        None => format!("it is not for any attempt of this job; {now}"),
    };
    LeaseError::Over {
        id: spec.id.clone(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let token = LeaseToken::new(secret, Fence(7), &JobId::new());
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        let text = token.to_string();
        assert!(!format!("{token:?}").contains(&text[..32]));
        for wrong in [
            "",
            "..",
            "x.7.y",
            &text[..32],
            &text[1..],
            &format!("{text}x"),
        ] {
            assert_eq!(wrong.parse::<LeaseToken>(), Err(NoToken), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_for_one_job() {
        let (one, other) = (JobId::new(), JobId::new());
        let token = LeaseToken::new("s".repeat(32), Fence(7), &one);
        assert!(token.is_for(&one) && !token.is_for(&other));
    }

    #[test]
    fn a_record_does_not_give_the_right_away() {
        let holder = LeaseToken::holder("secret");
        assert!(holder.is_lease() && holder.parse::<WorkerId>().is_ok());
        assert!(!holder.contains("secret"));
    }
}
