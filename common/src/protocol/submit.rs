//! Submit: publish and confirm, then record.

use futures_util::{StreamExt, stream};
use tracing::Span;

use super::Protocol;
use crate::{
    faults::{self, Bug},
    job::{Envelope, JobId, Record, Spec, SpecError, StateKind},
    life::Life,
    metrics::{self, Enqueued},
    ports::{BrokerError, Confirm, Created, Publication, Route, StoreError},
    time::Timestamp,
    trace, wire,
};

/// A job to submit.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What is asked for.
    pub spec: Spec,
    /// Not before this time.
    pub due: Option<Timestamp>,
    /// The submitter chose the id, so that the job may be known already.
    pub chosen_id: bool,
}

/// A job that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub id: JobId,
    /// It was submitted before; this is the same one, in that state.
    pub existing: Option<StateKind>,
}

/// A job that is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// It breaks a limit.
    #[error("job {id} was not submitted: {source}")]
    Invalid {
        /// Which job.
        id: JobId,
        /// What is wrong.
        source: SpecError,
    },
    /// Its id is taken.
    #[error(
        "job {0} was not submitted: another job, with another task or other arguments, has this id; choose a new id"
    )]
    Conflict(JobId),
    /// The broker does not have it.
    #[error("job {id} was not submitted: {why}")]
    Refused {
        /// Which job.
        id: JobId,
        /// What the broker said.
        why: String,
    },
    /// Nobody knows whether the broker has it.
    #[error("nobody knows whether job {id} was submitted: {why}; submit it again with the same id")]
    Unknown {
        /// Which job.
        id: JobId,
        /// What went wrong.
        why: String,
    },
    /// The store could not be asked.
    #[error("job {id} was not submitted: {source}")]
    Store {
        /// Which job.
        id: JobId,
        /// What went wrong.
        source: StoreError,
    },
}

/// How often a publication of unknown fate is published again.
const TRIES: usize = 3;
const LOOKUPS_AT_ONCE: usize = 64;

impl Protocol {
    /// Submits all, pipelined; one answer for each, in order.
    ///
    /// A job whose message is confirmed is accepted, even if the store cannot record it just now:
    /// the worker that gets the message does.
    pub async fn submit(&self, mut jobs: Vec<Submission>) -> Vec<Result<Submitted, SubmitError>> {
        let spans: Vec<Span> = jobs
            .iter_mut()
            .map(|job| trace::submit(&mut job.spec, &self.backend))
            .collect();
        let known = self.look_up(&jobs).await;
        let mut answers: Vec<Option<Result<Submitted, SubmitError>>> = known;
        let open: Vec<usize> = (0..jobs.len()).filter(|n| answers[*n].is_none()).collect();
        let now = self.backend.store.now();
        let publications: Vec<_> = open.iter().map(|n| publication(&jobs[*n], now)).collect();
        let declared = self
            .declare_queues(open.iter().map(|n| &jobs[*n].spec))
            .await;
        let sending: Vec<Span> = open
            .iter()
            .zip(&publications)
            .map(|(n, what)| {
                trace::publish(&spans[*n], &jobs[*n].spec.id, &what.route, &self.backend)
            })
            .collect();
        let again = |place: usize| publication(&jobs[open[place]], now);
        let confirms = self.publish_all(publications, again).await;
        drop(sending);
        // A crash here leaves jobs that nobody knows of but the broker.
        faults::point("submit.published");

        let (mut accepted, mut enqueued) = (Vec::new(), Enqueued::default());
        for (n, confirm) in open.into_iter().zip(confirms) {
            match refusal(&jobs[n].spec.id, confirm, &declared) {
                None => {
                    enqueued.count(&jobs[n].spec, jobs[n].due.is_some_and(|due| due > now));
                    accepted.push(n);
                }
                Some(error) => {
                    trace::failed(&spans[n], "refused");
                    answers[n] = Some(Err(error));
                }
            }
        }
        self.record_all(jobs, accepted, now, &mut answers).await;
        answers.into_iter().flatten().collect()
    }

    /// Answers what needs no publishing: broken limits, and chosen ids that are known.
    async fn look_up(&self, jobs: &[Submission]) -> Vec<Option<Result<Submitted, SubmitError>>> {
        let mut answers: Vec<_> = jobs.iter().map(invalid).collect();
        let chosen = (0..jobs.len()).filter(|n| jobs[*n].chosen_id && answers[*n].is_none());
        let known: Vec<_> = stream::iter(chosen)
            .map(|n| async move { (n, self.submitted_before(&jobs[n].spec).await) })
            .buffered(LOOKUPS_AT_ONCE)
            .collect()
            .await;
        for (n, answer) in known {
            answers[n] = answer;
        }
        answers
    }

    /// The answer for a job whose id was chosen, if that is known.
    async fn submitted_before(&self, spec: &Spec) -> Option<Result<Submitted, SubmitError>> {
        let id = spec.id.clone();
        match self.backend.store.find(&id).await {
            Ok(None) => None,
            Ok(Some(known)) if is_same(&known.spec, spec) => {
                metrics::deduplicated(&spec.queue);
                Some(Ok(Submitted {
                    id,
                    existing: Some(known.life.state.kind()),
                }))
            }
            Ok(Some(_)) => Some(Err(SubmitError::Conflict(id))),
            Err(source) => Some(Err(SubmitError::Store { id, source })),
        }
    }

    /// Where it fails, publishing tells for each job what that means for it: the queues may well
    /// be there.
    async fn declare_queues(&self, specs: impl Iterator<Item = &Spec>) -> Result<(), BrokerError> {
        let mut queues: Vec<_> = specs.map(|spec| spec.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        self.backend.broker.declare(&queues).await
    }

    /// Publishes, and again what nobody knows the fate of: with the same id, so that a claim drops
    /// the copy. `again` makes a publication once more, by its place: copies of all are seldom needed.
    async fn publish_all(
        &self,
        publications: Vec<Publication>,
        again: impl Fn(usize) -> Publication,
    ) -> Vec<Confirm> {
        if publications.is_empty() {
            return Vec::new();
        }
        let mut confirms = self.backend.broker.publish(publications).await;
        for _ in 1..TRIES {
            let unknown: Vec<usize> = (0..confirms.len())
                .filter(|n| matches!(confirms[*n], Confirm::Unknown(_)))
                .collect();
            if unknown.is_empty() {
                break;
            }
            let copies = unknown.iter().map(|n| again(*n)).collect();
            for (n, confirm) in unknown
                .into_iter()
                .zip(self.backend.broker.publish(copies).await)
            {
                // "Refused" now says nothing about the first try: it stays unknown.
                if confirm == Confirm::Accepted {
                    confirms[n] = confirm;
                }
            }
        }
        confirms
    }

    async fn record_all(
        &self,
        jobs: Vec<Submission>,
        accepted: Vec<usize>,
        now: Timestamp,
        answers: &mut [Option<Result<Submitted, SubmitError>>],
    ) {
        if accepted.is_empty() {
            return;
        }
        let ids: Vec<JobId> = accepted.iter().map(|n| jobs[*n].spec.id.clone()).collect();
        let mut jobs: Vec<Option<Submission>> = jobs.into_iter().map(Some).collect();
        let records = accepted.iter().filter_map(|n| jobs[*n].take());
        let records = records.map(|job| first_record(job, now)).collect();
        let created = match self.backend.store.create(records).await {
            Ok(created) => created,
            Err(error) => {
                tracing::warn!(jobs = ids.len(), %error, "accepted, but not recorded yet");
                vec![Created::New; ids.len()]
            }
        };
        for ((n, id), created) in accepted.into_iter().zip(ids).zip(created) {
            answers[n] = Some(match created {
                Created::Conflict => Err(SubmitError::Conflict(id)),
                // A worker may have been quicker than this record: that is no earlier submission.
                Created::New | Created::Same(_) => Ok(Submitted { id, existing: None }),
            });
        }
    }
}

/// The answer for a job that breaks a limit.
fn invalid(job: &Submission) -> Option<Result<Submitted, SubmitError>> {
    let wrong = job.spec.validate().err();
    wrong.map(|source| {
        let id = job.spec.id.clone();
        Err(SubmitError::Invalid { id, source })
    })
}

/// What was submitted before is the same job also once its arguments were mended.
fn is_same(known: &Spec, spec: &Spec) -> bool {
    let digest = spec.digest();
    known.digest() == digest || known.was(digest)
}

/// What a confirm that is no acceptance means. Queues that could not be declared are the likely
/// cause, and say more.
fn refusal(
    id: &JobId,
    confirm: Confirm,
    declared: &Result<(), BrokerError>,
) -> Option<SubmitError> {
    let id = id.clone();
    let because = |why: String| match declared {
        Err(error) if error.to_string() != why => format!("{why}; {error}"),
        _ => why,
    };
    match confirm {
        Confirm::Accepted => None,
        _ if faults::planted(Bug::ConfirmIgnored) => None,
        Confirm::Refused(why) => Some(SubmitError::Refused {
            id,
            why: because(why),
        }),
        Confirm::Unknown(why) => Some(SubmitError::Unknown {
            id,
            why: because(why),
        }),
    }
}

fn publication(job: &Submission, now: Timestamp) -> Publication {
    let Spec { queue, lane, .. } = &job.spec;
    let (queue, lane) = (queue.clone(), *lane);
    let route = match job.due.map(|due| due.since(now)) {
        Some(delay) if !delay.is_zero() => Route::Later {
            queue,
            lane,
            delay,
            coarse: false,
        },
        _ => Route::Lane(queue, lane),
    };
    let message = wire::encode(&Envelope::first(&job.spec, job.due));
    Publication { message, route }
}

fn first_record(job: Submission, now: Timestamp) -> Record {
    let life = match job.due {
        Some(due) if due > now => Life::scheduled(due),
        _ => Life::queued(),
    };
    Record::new(job.spec, life, now)
}
