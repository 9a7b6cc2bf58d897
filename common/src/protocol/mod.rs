//! The order of calls, written once above the ports, the same over every pair of adapters.
//!
//! * submit: publish and confirm, then record.
//! * receive: claim; what the record says decides ([`crate::life::arrive`]).
//! * finish: record, publish what follows, and only then acknowledge.
//! * lease: as receive, for a program that is not there for long; a guard stands in at once.
//!
//! The unacknowledged delivery is the outbox: whoever crashes between two of these calls leaves a
//! message behind whose next arrival does the rest.

mod bury;
mod control;
mod finish;
mod lease;
mod receive;
mod recover;
mod submit;

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use tracing::{Instrument, Span};

pub use crate::ports::{HEARTBEAT, WORKER_TTL};
pub use control::{CancelOutcome, EditOutcome, RedriveOutcome};
pub use finish::Finished;
pub use lease::{Extended, LEASE_MAX, LeaseError, LeaseToken, Leased, NoToken, Settled};
pub use receive::{Assignment, Receipt};
pub use submit::{Submission, SubmitError, Submitted};

use crate::{
    faults::{self, Bug},
    job::{Envelope, JobId, Outcome, Record, Spec},
    life::{Life, Step, expires},
    metrics::{self, FailureReason},
    ports::{Backend, Change, Confirm, Edit, Publication, Route, StoreError},
    trace, wire,
};

/// How long an attempt holds its delivery before a guard stands in for it: well below the 30
/// minutes after which RabbitMQ takes an unacknowledged delivery back.
pub const GUARD_AFTER: Duration = Duration::from_secs(600);

/// The order of calls over one pair of adapters.
#[derive(Debug, Clone)]
pub struct Protocol {
    backend: Backend,
    /// Claims come before the submitter's records, as of late: they carry the record along, which
    /// saves a round trip where it is missing, and is work for nothing where it is not.
    outruns: Arc<AtomicBool>,
}

/// A call that could not be carried through.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProtocolError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker did not take a message.
    #[error("the broker did not take a message of job {id}: {why}")]
    NotPublished {
        /// Whose message.
        id: JobId,
        /// What the broker said.
        why: String,
    },
}

impl Protocol {
    /// Over these adapters.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            outruns: Arc::default(),
        }
    }

    /// The adapters.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Publishes once more if nobody knows what became of it, or if its queue was missing.
    async fn publish(&self, id: &JobId, publication: Publication) -> Result<(), ProtocolError> {
        let once = || async {
            let confirms = self.backend.broker.publish(vec![publication.clone()]).await;
            match confirms.into_iter().next() {
                Some(Confirm::Accepted) => Ok(()),
                _ if faults::planted(Bug::ConfirmIgnored) => Ok(()),
                Some(Confirm::Refused(why)) => {
                    self.declare_again(&publication.route).await;
                    Err(why)
                }
                Some(Confirm::Unknown(why)) => Err(why),
                None => Err("no answer".to_owned()),
            }
        };
        let span = trace::publish(&Span::current(), id, &publication.route, &self.backend);
        once.retry(patient().with_max_times(3))
            .instrument(span)
            .await
            .map_err(|why| ProtocolError::NotPublished {
                id: id.clone(),
                why,
            })
    }

    /// Somebody may have deleted the queue; what the broker says of that is told by the next
    /// publish.
    async fn declare_again(&self, route: &Route) {
        if let Route::Lane(queue, _) | Route::Later { queue, .. } | Route::Dead(queue) = route {
            let _ = self
                .backend
                .broker
                .declare(std::slice::from_ref(queue))
                .await;
        }
    }

    /// A message for the attempt that `life` names, after `delay`.
    fn vehicle(spec: &Spec, life: &Life, delay: Duration, coarse: bool) -> Publication {
        let mut envelope = Envelope::first(spec, life.state.due());
        envelope.attempt = life.attempt;
        envelope.fence = life.fence;
        let (queue, lane) = (spec.queue.clone(), spec.lane);
        let route = if delay.is_zero() {
            Route::Lane(queue, lane)
        } else {
            Route::Later {
                queue,
                lane,
                delay,
                coarse,
            }
        };
        Publication {
            message: wire::encode(&envelope),
            route,
        }
    }

    fn dead_letter(spec: &Spec, life: &Life) -> Publication {
        let mut envelope = Envelope::first(spec, None);
        envelope.attempt = life.attempt;
        envelope.fence = life.fence;
        Publication {
            message: wire::dead(wire::encode(&envelope), spec, life),
            route: Route::Dead(spec.queue.clone()),
        }
    }

    /// Counts what a step that was applied made of its job.
    fn count(spec: &Spec, step: &Step) {
        if let Some(reason) = step.life.state.reason() {
            metrics::dead(&spec.queue, reason);
        }
        if step
            .ended
            .as_ref()
            .is_some_and(|ended| ended.outcome == Outcome::Lost)
        {
            metrics::failed(&spec.task, FailureReason::Lost);
        }
    }

    fn change(record: &Record, step: Step) -> Change {
        let expires = expires(&record.spec, &step.life);
        Change {
            id: record.spec.id.clone(),
            step,
            expires,
            edit: None,
        }
    }

    /// A step that also makes the job ask for what `spec` says.
    fn edit_to(record: &Record, step: Step, spec: &Spec) -> Change {
        let edit = Edit {
            spec: spec.clone(),
            created: record.created,
        };
        Change {
            edit: Some(Box::new(edit)),
            ..Self::change(record, step)
        }
    }
}

/// A step that most jobs never take: the future of an attempt, of which there are many, is as large as
/// the largest step in it.
fn rare<F: Future>(step: F) -> Pin<Box<F>> {
    Box::pin(step)
}

/// Waits between tries of something that another process has to mend.
fn patient() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
}
