//! The Prometheus recorder and its text.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use tidegate_model::RegionId;
use tidegate_telemetry::{DURATION_EDGES, OPENMETRICS, accepts_openmetrics, names, openmetrics};

/// How often histograms are folded, so that they do not grow between scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why metrics cannot be recorded.
pub type RecorderError = BuildError;

/// Collects what the process counts.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
    process: Collector,
}

impl Recorder {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// When another one is installed already.
    pub fn install(region: &RegionId) -> Result<Self, RecorderError> {
        let builder = PrometheusBuilder::new().set_buckets(&DURATION_EDGES)?;
        let handle = builder.install_recorder()?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("region", region.to_string()),
        ];
        metrics::gauge!(names::BUILD_INFO, &labels).set(1.0);
        // Logs begin before there are metrics.
        metrics::counter!(names::ACCESS_LINES_DROPPED).absolute(0);
        metrics::counter!(names::BACKGROUND_PANICS).increment(0);
        let process = Collector::default();
        process.describe();
        Ok(Self { handle, process })
    }

    /// The page of metrics, in the Prometheus text format.
    #[must_use]
    pub fn page(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Folds histograms until the task is dropped.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            self.handle.run_upkeep();
        }
    }
}

/// `GET /metrics`: `OpenMetrics` where that is asked for, else the Prometheus text format.
pub(super) async fn render(
    State(recorder): State<Recorder>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    let (content_type, page) = match accept.is_some_and(accepts_openmetrics) {
        true => (OPENMETRICS, openmetrics(&recorder.page())),
        false => ("text/plain; version=0.0.4; charset=utf-8", recorder.page()),
    };
    ([(CONTENT_TYPE, content_type), (VARY, "accept")], page)
}
