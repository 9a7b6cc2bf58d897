//! A job as the JSON object that scripts read. Keys are only ever added; what does not exist is
//! null; times are RFC 3339.

use base64::{Engine, engine::general_purpose::STANDARD};
use haul_common::{
    job::{Attempt, BatchId, Fence, JobId, Lane, Outcome, Progress, QueueName, Reason, Record},
    job::{State, StateKind, Tag, TaskName, WorkerId},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct JobView<'a> {
    id: &'a JobId,
    task: &'a TaskName,
    queue: &'a QueueName,
    lane: Lane,
    state: StateKind,
    reason: Option<Reason>,
    attempt: u32,
    max_attempts: u32,
    args: &'a RawValue,
    result: Option<&'a RawValue>,
    error: Option<&'a str>,
    progress: Option<&'a Progress>,
    tags: &'a [Tag],
    batch: Option<&'a BatchId>,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    due_at: Option<String>,
    deadline: Option<String>,
    fence: Fence,
    timeout_ms: Option<u128>,
    backoff: String,
    cancel_requested: bool,
    worker: Option<&'a WorkerId>,
    attempts: Vec<AttemptView<'a>>,
    body_base64: Option<String>,
    edits: usize,
}

/// An attempt. The one that runs has neither end nor outcome yet.
#[derive(Debug, Serialize)]
pub(crate) struct AttemptView<'a> {
    pub(crate) number: u32,
    pub(crate) worker: &'a WorkerId,
    pub(crate) started_at: String,
    pub(crate) finished_at: Option<String>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) error: Option<&'a str>,
    pub(crate) log: &'a str,
}

impl<'a> From<&'a Record> for JobView<'a> {
    fn from(record: &'a Record) -> Self {
        let Record { spec, life, .. } = record;
        Self {
            id: &spec.id,
            task: &spec.task,
            queue: &spec.queue,
            lane: spec.lane,
            state: life.state.kind(),
            reason: life.state.reason(),
            attempt: life.attempt,
            max_attempts: spec.max_attempts,
            args: &spec.args,
            result: result(record),
            error: life.error.as_deref(),
            progress: record.progress.as_ref(),
            tags: &spec.tags,
            batch: spec.batch.as_ref(),
            created_at: record.created.to_string(),
            started_at: text(life.started),
            finished_at: text(life.state.finished()),
            due_at: text(life.state.due()),
            deadline: text(spec.deadline),
            fence: life.fence,
            timeout_ms: spec.timeout.map(|limit| limit.as_millis()),
            backoff: spec.backoff.to_string(),
            cancel_requested: life.cancel_requested,
            worker: life.state.worker(),
            attempts: attempts(record),
            edits: spec.earlier.len(),
            body_base64: record.raw.as_ref().map(|bytes| STANDARD.encode(bytes)),
        }
    }
}

/// What a job that succeeded returned.
pub(crate) fn result(record: &Record) -> Option<&RawValue> {
    match &record.life.state {
        State::Succeeded { result, .. } => Some(result),
        _ => None,
    }
}

/// The attempts of a job, with the one that runs.
pub(crate) fn attempts(record: &Record) -> Vec<AttemptView<'_>> {
    let mut all: Vec<_> = record.attempts.iter().map(ended).collect();
    if let State::Running { worker, began } = &record.life.state {
        all.push(AttemptView {
            number: record.life.attempt,
            worker,
            started_at: began.to_string(),
            finished_at: None,
            outcome: None,
            error: None,
            log: &record.log,
        });
    }
    all
}

fn ended(attempt: &Attempt) -> AttemptView<'_> {
    AttemptView {
        number: attempt.number,
        worker: &attempt.worker,
        started_at: attempt.started.to_string(),
        finished_at: Some(attempt.finished.to_string()),
        outcome: Some(attempt.outcome),
        error: attempt.error.as_deref(),
        log: &attempt.log,
    }
}

fn text(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}
