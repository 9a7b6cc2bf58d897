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

mod token;

use std::time::Duration;

pub use token::{LeaseToken, NoToken};

use super::{Assignment, Finished, Protocol, ProtocolError, Receipt};
use crate::{
    faults,
    job::{FailureKind, JobId, Outcome, Record, StateKind, WorkerId},
    life::Ended,
    ports::Delivery,
    time::Timestamp,
    trace,
};

/// No lease is longer: a job whose program vanished comes back at the end of it only.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long the taking of a job may take, unless its lease is shorter. Its guard is to come after the lease's end.
const TAKING: Duration = Duration::from_secs(15);
const AFTER: Duration = Duration::from_secs(1);

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
        let failed = failed(&ended);
        match self.finish(&assignment, ended, record.log, None).await? {
            Finished::Recorded(life) => {
                let holder = LeaseToken::holder(&token.secret);
                self.backend.store.retire(&holder).await?;
                trace::leased(&assignment.spec, &assignment.life, failed, &self.backend);
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

/// How an attempt failed, in a word.
const fn failed(ended: &Ended) -> Option<&'static str> {
    match ended {
        Ended::Succeeded(_) => None,
        Ended::Cancelled { .. } => Some("cancelled"),
        _ => Some("failed"),
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
