//! Traces for OpenTelemetry: what happens to a batch, step by step (poll, convert, transform, write, flush, commit).
//!
//! On when `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is set; the other standard variables count,
//! too: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`. OTLP over HTTP with
//! protobuf. Off, a span costs a look at a flag.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};

/// The target of all spans.
pub const TARGET: &str = "sidestream::batch";
/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 16_384;
const EVERY: Duration = Duration::from_secs(2);
/// Spans in one request.
const REQUEST: usize = 512;

/// A span of a step of a task, below the one that is entered.
macro_rules! step {
    ($name:literal $(, $($fields:tt)*)?) => {
        tracing::info_span!(target: $crate::telemetry::traces::TARGET, $name $(, $($fields)*)?)
    };
}
pub(crate) use step;

static QUEUED: OnceLock<Mutex<Vec<SpanData>>> = OnceLock::new();

/// Whether the environment asks for traces.
pub fn are_wanted() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| !value.trim().is_empty()))
}

/// What makes spans out of the program's; they wait until [`export`] sends them.
pub fn tracer() -> SdkTracer {
    let _ = QUEUED.set(Mutex::default());
    let provider = SdkTracerProvider::builder().with_resource(resource()).with_span_processor(Queue).build();
    provider.tracer("sidestream")
}

/// Who it is that tells: what the environment says, and a name if it says none.
fn resource() -> Resource {
    let resource = Resource::builder();
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(_) => resource.build(),
        Err(_) => resource.with_service_name("sidestream").build(),
    }
}

/// Sends what waits, every now and then and at the end. Does not end before `stop`.
pub async fn export(stop: impl Future<Output = ()>) {
    let mut exporter =
        match SpanExporter::builder().with_http().with_http_client(reqwest::Client::new()).build() {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!("no export of traces: {error} (check the OTEL_EXPORTER_OTLP_ variables)");
                return;
            }
        };
    exporter.set_resource(&resource());
    tokio::pin!(stop);
    let mut going_on = true;
    while going_on {
        going_on = tokio::select! {
            () = tokio::time::sleep(EVERY) => true,
            () = &mut stop => false,
        };
        let Some(queued) = QUEUED.get() else { return };
        let all = std::mem::take(&mut *queued.lock().unwrap_or_else(PoisonError::into_inner));
        let mut spans = all.into_iter().peekable();
        while spans.peek().is_some() {
            let request: Vec<_> = spans.by_ref().take(REQUEST).collect();
            let count = request.len();
            if let Err(error) = exporter.export(request).await {
                tracing::warn!("{count} spans were not taken: {error}");
            }
        }
    }
}

/// Takes spans that ended; the SDK's own processors need threads that know nothing of our runtime.
#[derive(Debug)]
struct Queue;

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if let Some(queued) = QUEUED.get() {
            let mut queued = queued.lock().unwrap_or_else(PoisonError::into_inner);
            if queued.len() < QUEUE {
                queued.push(span);
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
