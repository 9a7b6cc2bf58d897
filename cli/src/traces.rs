//! Traces, sent by OTLP over HTTP where `OTEL_EXPORTER_OTLP_ENDPOINT` says.

use std::collections::BTreeMap;

use haul_common::{job::HeaderValue, trace};

/// The trace that whoever runs this belongs to, as OpenTelemetry passes it to processes: headers
/// of the jobs that are submitted here.
pub(crate) fn given() -> BTreeMap<String, HeaderValue> {
    let named = [("TRACEPARENT", trace::PARENT), ("TRACESTATE", trace::STATE)];
    let given = named.into_iter().filter_map(|(variable, header)| {
        let text = std::env::var(variable)
            .ok()
            .filter(|text| !text.is_empty())?;
        Some((header.to_owned(), HeaderValue::Text(text)))
    });
    given.collect()
}

/// Whether the environment asks for traces.
fn asked_for() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|text| text == value);
    let set = |name: &str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
    !is("OTEL_SDK_DISABLED", "true")
        && !is("OTEL_TRACES_EXPORTER", "none")
        && (set("OTEL_EXPORTER_OTLP_ENDPOINT") || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
}

#[cfg(feature = "otel")]
mod client;

#[cfg(not(feature = "otel"))]
pub(crate) use off::Traces;
#[cfg(feature = "otel")]
pub(crate) use on::Traces;

#[cfg(not(feature = "otel"))]
mod off {
    use tracing_subscriber::{Layer, Registry};

    /// Sends nothing: this was built without.
    #[derive(Debug)]
    pub(crate) struct Traces;

    impl Traces {
        pub(crate) const fn start() -> anyhow::Result<Self> {
            Ok(Self)
        }

        #[expect(clippy::unused_self, reason = "the other one needs it")]
        pub(crate) const fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
            None
        }

        #[expect(clippy::unused_self, reason = "the other one needs it")]
        pub(crate) fn tell(&self) {
            if super::asked_for() {
                tracing::info!("no traces: this haul was built without the feature `otel`");
            }
        }

        pub(crate) const fn finish(self) {}
    }
}

#[cfg(feature = "otel")]
mod on {
    use std::{env, time::Duration};

    use opentelemetry::{KeyValue, trace::TracerProvider};
    use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
    use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
    use tracing_subscriber::{Layer, Registry, filter::filter_fn};

    use crate::exit::Exit;

    const PROTOCOL: &str = "http/protobuf";
    /// How long the end of a command waits for its last spans to be taken.
    const FLUSH: Duration = Duration::from_secs(3);

    /// Sends spans, if the environment asks for it.
    #[derive(Debug)]
    pub(crate) struct Traces(Option<SdkTracerProvider>);

    impl Traces {
        /// # Errors
        /// When the environment asks for what cannot be.
        pub(crate) fn start() -> anyhow::Result<Self> {
            if !super::asked_for() {
                return Ok(Self(None));
            }
            for name in [
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            ] {
                let protocol = env::var(name).unwrap_or_default();
                if !protocol.is_empty() && protocol != PROTOCOL {
                    return Err(Exit::usage(format!(
                        "{name} is `{protocol}`; haul sends traces by {PROTOCOL}: set it so, or \
                         unset it"
                    )));
                }
            }
            // Taken by the client of the exporter. A second one changes nothing.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let mut exporter = SpanExporter::builder().with_http();
            if let Some(client) = super::client::of_environment()? {
                exporter = exporter.with_http_client(client);
            }
            let exporter = exporter.build();
            let exporter =
                exporter.map_err(|error| Exit::usage(format!("cannot send traces: {error}")))?;
            let provider = SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource())
                .build();
            // For spans of what went on elsewhere.
            opentelemetry::global::set_tracer_provider(provider.clone());
            Ok(Self(Some(provider)))
        }

        /// Haul's own spans, and no events: those are for the log.
        pub(crate) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
            let tracer = self.0.as_ref()?.tracer("haul");
            let ours = filter_fn(|what| what.is_span() && what.target().starts_with("haul"));
            let layer = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false);
            Some(layer.with_filter(ours).boxed())
        }

        pub(crate) fn tell(&self) {
            if self.0.is_some() {
                tracing::debug!("sending traces");
            }
        }

        /// Sends what is left.
        pub(crate) fn finish(self) {
            if let Some(provider) = self.0
                && let Err(error) = provider.shutdown_with_timeout(FLUSH)
            {
                tracing::warn!(%error, "not all spans were sent");
            }
        }
    }

    fn resource() -> Resource {
        let named = env::var_os("OTEL_SERVICE_NAME").is_some()
            || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_attribute(version);
        if named {
            resource.build()
        } else {
            resource.with_service_name("haul").build()
        }
    }
}
