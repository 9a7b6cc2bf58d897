//! With OpenTelemetry. Names and attributes are those of its conventions for messaging; what is
//! Haul's own begins with `haul.`. No arguments, no results, no texts of errors.

use std::{
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer,
    },
};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{PARENT, STATE, text};
use crate::{
    job::{HeaderValue, JobId, Spec},
    ports::Route,
    time::Timestamp,
    wire::topology::lane_key,
};

type Headers = BTreeMap<String, HeaderValue>;

pub(super) fn submit(spec: &mut Spec, system: &'static str) -> Span {
    let name = format!("submit {}", spec.queue);
    let span = tracing::info_span!("submit", otel.name = name, otel.kind = "producer");
    describe(&span, attributes(spec, system));
    set(&span, "messaging.operation.type", "create");
    set(&span, "messaging.operation.name", "submit");
    follow(&span, &spec.headers);
    write(&span, &mut spec.headers);
    span
}

pub(super) fn publish(parent: &Span, id: &JobId, route: &Route, system: &'static str) -> Span {
    if !context(parent).is_valid() {
        return Span::none();
    }
    let (queue, key) = match route {
        Route::Lane(queue, lane) | Route::Later { queue, lane, .. } => {
            (queue.to_string(), Some(lane_key(queue, *lane)))
        }
        Route::Dead(queue) => (format!("dead.{queue}"), None),
        Route::Reply(queue) => (queue.clone(), None),
    };
    let name = format!("publish {queue}");
    // Not the producer: that is the span that made the message's context.
    let span =
        tracing::info_span!(parent: parent, "publish", otel.name = name, otel.kind = "client");
    set(&span, "messaging.system", system);
    set(&span, "messaging.destination.name", queue);
    set(&span, "messaging.operation.type", "send");
    set(&span, "messaging.operation.name", "publish");
    set(&span, "messaging.message.id", id.to_string());
    if let (Some(key), "rabbitmq") = (key, system) {
        set(&span, "messaging.rabbitmq.destination.routing_key", key);
    }
    span
}

pub(super) fn attempt(spec: &Spec, number: u32, system: &'static str) -> Span {
    let name = attempt_name(spec);
    // Of the highest level, for whatever is logged within it is to tell the job.
    let span = tracing::error_span!(
        "attempt", otel.name = name, otel.kind = "consumer",
        job = %spec.id, task = %spec.task, attempt = number, trace = field::Empty
    );
    describe(&span, attributes_of_attempt(spec, number, system));
    follow(&span, &spec.headers);
    let context = context(&span);
    if context.is_valid() {
        span.record("trace", field::display(context.trace_id()));
    } else {
        span.record("trace", super::id(&spec.headers));
    }
    span
}

/// Not one of `tracing`: those begin now. Its tracer is the process's own.
pub(super) fn leased(
    spec: &Spec,
    number: u32,
    began: Timestamp,
    failed: Option<&'static str>,
    system: &'static str,
) {
    let parent = given(&spec.headers).unwrap_or_default();
    let mut attributes = attributes_of_attempt(spec, number, system);
    attributes.extend(failed.map(|how| KeyValue::new("error.type", how)));
    let since_1970 = Duration::from_millis(began.as_millis().unsigned_abs());
    let tracer = opentelemetry::global::tracer("haul");
    let mut span = tracer
        .span_builder(attempt_name(spec))
        .with_kind(SpanKind::Consumer)
        .with_start_time(SystemTime::UNIX_EPOCH + since_1970)
        .with_attributes(attributes)
        .start_with_context(&tracer, &parent);
    if let Some(how) = failed {
        span.set_status(Status::error(how));
    }
    span.end();
}

pub(super) fn failed(span: &Span, how: &str) {
    set(span, "error.type", how.to_owned());
    span.set_status(Status::error(how.to_owned()));
}

pub(super) fn current() -> Option<String> {
    let context = context(&Span::current());
    context.is_valid().then(|| written(&context))
}

fn attempt_name(spec: &Spec) -> String {
    format!("attempt {}", spec.queue)
}

fn attributes(spec: &Spec, system: &'static str) -> Vec<KeyValue> {
    let size = i64::try_from(spec.args.get().len()).unwrap_or(i64::MAX);
    let mut all = vec![
        KeyValue::new("messaging.system", system),
        KeyValue::new("messaging.destination.name", spec.queue.to_string()),
        KeyValue::new("messaging.message.id", spec.id.to_string()),
        KeyValue::new("messaging.message.body.size", size),
        KeyValue::new("haul.task", spec.task.to_string()),
        KeyValue::new("haul.lane", spec.lane.as_str()),
    ];
    let batch = spec.batch.as_ref();
    all.extend(batch.map(|id| KeyValue::new("messaging.message.conversation_id", id.to_string())));
    if system == "rabbitmq" {
        let key = lane_key(&spec.queue, spec.lane);
        let name = "messaging.rabbitmq.destination.routing_key";
        all.push(KeyValue::new(name, key));
    }
    all
}

fn attributes_of_attempt(spec: &Spec, number: u32, system: &'static str) -> Vec<KeyValue> {
    let mut all = attributes(spec, system);
    all.extend([
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.operation.name", "attempt"),
        KeyValue::new("haul.attempt", i64::from(number)),
    ]);
    all
}

fn describe(span: &Span, attributes: Vec<KeyValue>) {
    for KeyValue { key, value, .. } in attributes {
        span.set_attribute(key, value);
    }
}

fn set(span: &Span, key: &'static str, value: impl Into<Value>) {
    let KeyValue { key, value, .. } = KeyValue::new(key, value);
    span.set_attribute(key, value);
}

fn context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// Makes `span` a part of the trace that the headers name, if they do.
fn follow(span: &Span, headers: &Headers) {
    if let Some(context) = given(headers) {
        // Only a span that has begun already refuses.
        let _ = span.set_parent(context);
    }
}

/// What the headers name, as somebody else's.
fn given(headers: &Headers) -> Option<Context> {
    let remote = text(headers, PARENT).and_then(|parent| read(parent, headers))?;
    Some(Context::new().with_remote_span_context(remote))
}

/// W3C trace context, version 00, or what a later one has in common with it.
fn read(parent: &str, headers: &Headers) -> Option<SpanContext> {
    let parts: Vec<&str> = parent.split('-').collect();
    let (version, [trace, span, flags]) = (parts.first()?, parts.get(1..4)?.try_into().ok()?);
    if *version == "ff" || (*version == "00" && parts.len() > 4) || version.len() != 2 {
        return None;
    }
    let hex = |text: &str, digits: usize| {
        let right = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == digits && text.bytes().all(right)
    };
    if !(hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
        return None;
    }
    let state = text(headers, STATE).and_then(|state| TraceState::from_str(state).ok());
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
        true,
        state.unwrap_or_default(),
    );
    context.is_valid().then_some(context)
}

/// Names `span` as what the job's attempts continue; nothing where no trace is kept.
fn write(span: &Span, headers: &mut Headers) {
    let context = context(span);
    if !context.is_valid() {
        return;
    }
    let parent = HeaderValue::Text(written(&context));
    headers.insert(PARENT.to_owned(), parent);
    match context.trace_state().header() {
        state if state.is_empty() => headers.remove(STATE),
        state => headers.insert(STATE.to_owned(), HeaderValue::Text(state)),
    };
}

fn written(context: &SpanContext) -> String {
    let (trace, span) = (context.trace_id(), context.span_id());
    format!("00-{trace}-{span}-{:02x}", context.trace_flags().to_u8())
}
