//! Traces: one for each job, from its submit through all its attempts to the jobs that those submit.
//!
//! The context travels as W3C `traceparent` and `tracestate` among the job's own headers: the same
//! over every backend, and for clients in every language. Spans become OpenTelemetry's with the
//! feature `otel`, and a subscriber that has its layer; else the context that a client gave is
//! carried along, and what is logged within an attempt still tells job, attempt and trace.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod otel;

use std::collections::BTreeMap;

#[cfg(not(feature = "otel"))]
use off as spans;
#[cfg(feature = "otel")]
use otel as spans;
use tracing::Span;

use crate::{
    job::{HeaderValue, JobId, Spec, State},
    life::Life,
    ports::{Backend, Route},
};

/// Header of the trace's id and of the span that it continues.
pub const PARENT: &str = "traceparent";
/// Header of what tracing systems add to it.
pub const STATE: &str = "tracestate";

/// The span of a job on its way in. Its context, a part of the one that the job came with, if any,
/// goes among the job's headers.
pub(crate) fn submit(spec: &mut Spec, backend: &Backend) -> Span {
    spans::submit(spec, system(backend))
}

/// The span of one message on its way out, within `parent`.
pub(crate) fn publish(parent: &Span, id: &JobId, route: &Route, backend: &Backend) -> Span {
    spans::publish(parent, id, route, system(backend))
}

/// The span of an attempt: whatever is logged within it tells whose it is.
pub fn attempt(spec: &Spec, number: u32, backend: &Backend) -> Span {
    spans::attempt(spec, number, system(backend))
}

/// The span of an attempt on a lease that is over now: whoever had it was no process of ours.
pub(crate) fn leased(spec: &Spec, life: &Life, failed: Option<&'static str>, backend: &Backend) {
    if let State::Running { began, .. } = life.state {
        spans::leased(spec, life.attempt, began, failed, system(backend));
    }
}

/// Says that what `span` stands for did not work, in a word.
pub fn failed(span: &Span, how: &str) {
    spans::failed(span, how);
}

/// The context to hand on from within a handler: that of its attempt, or the one that the job came
/// with. For example as the header `traceparent` of an HTTP request.
pub fn parent(spec: &Spec) -> Option<String> {
    spans::current().or_else(|| text(&spec.headers, PARENT).map(str::to_owned))
}

/// As [`parent`], and what tracing systems added to it: headers for a call from within a handler.
pub fn context(spec: &Spec) -> impl Iterator<Item = (&'static str, String)> {
    let state = text(&spec.headers, STATE).map(str::to_owned);
    let parent = parent(spec).map(|parent| (PARENT, parent));
    parent.into_iter().chain(state.map(|state| (STATE, state)))
}

/// The trace that a job says it belongs to.
pub fn id(headers: &BTreeMap<String, HeaderValue>) -> Option<&str> {
    let id = text(headers, PARENT)?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

fn text<'h>(headers: &'h BTreeMap<String, HeaderValue>, name: &str) -> Option<&'h str> {
    match headers.get(name) {
        Some(HeaderValue::Text(text)) => Some(text),
        _ => None,
    }
}

/// `messaging.system` of OpenTelemetry's conventions.
const fn system(backend: &Backend) -> &'static str {
    if backend.embedded {
        "sqlite"
    } else {
        "rabbitmq"
    }
}
