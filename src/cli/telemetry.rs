//! Traces to an OpenTelemetry collector, over HTTP: off unless the configuration or OpenTelemetry's own variables name one.
//!
//! A collector that is slow or absent costs no request anything: spans wait in a bounded queue of the SDK's, are sent behind everybody's
//! back, and are dropped where they do not fit.

use crate::config;
use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// Variables that name a collector, and that the exporter reads by itself (OTLP exporter specification).
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Where traces go below the collector's address (OTLP/HTTP specification).
const TRACES_PATH: &str = "/v1/traces";

/// What the last spans may take to be sent when the program ends.
const LAST_SPANS_TIMEOUT: Duration = Duration::from_secs(2);

/// Traces that are being sent. Dropped, it sends what is left.
pub struct Telemetry {
    provider: SdkTracerProvider,
    /// Where the exporter's connections live.
    _runtime: Runtime,
}

impl Telemetry {
    /// `None` where nothing names a collector.
    ///
    /// # Errors
    /// The collector's address is none.
    pub fn of(settings: &config::Telemetry) -> anyhow::Result<Option<Telemetry>> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        if is_disabled || (settings.otlp_endpoint.is_none() && !ENDPOINT_VARIABLES.iter().any(|name| is_set(name))) {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("telemetry").enable_all().build();
        let runtime = runtime.context("cannot start the thread that sends traces")?;
        let _entered = runtime.enter();
        let mut builder = SpanExporter::builder().with_http();
        if let Some(endpoint) = &settings.otlp_endpoint {
            builder = builder.with_endpoint(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')));
        }
        let exporter = builder.build().context("cannot send traces")?;
        let exporter = Exporter { exporter: Arc::new(exporter), runtime: runtime.handle().clone(), has_warned: AtomicBool::new(false) };
        let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("pointillist");
        }
        let provider = SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
        drop(_entered);
        Ok(Some(Telemetry { provider, _runtime: runtime }))
    }

    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("pointillist")
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        // What could not be sent by now has been said.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS_TIMEOUT);
    }
}

/// Sends on a runtime of its own: the thread on which the SDK calls it has none.
#[derive(Debug)]
struct Exporter {
    exporter: Arc<SpanExporter>,
    runtime: Handle,
    has_warned: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exporter = self.exporter.clone();
        let sent = self.runtime.spawn(async move { opentelemetry_sdk::trace::SpanExporter::export(&*exporter, batch).await });
        let result = match sent.await {
            Ok(result) => result,
            // The program is ending.
            Err(_) => return Ok(()),
        };
        if let Err(error) = &result
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("traces cannot be sent, and are dropped until they can: {error}");
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Before the first batch nobody else has it.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            opentelemetry_sdk::trace::SpanExporter::set_resource(exporter, resource);
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        opentelemetry_sdk::trace::SpanExporter::shutdown_with_timeout(&*self.exporter, timeout)
    }
}
