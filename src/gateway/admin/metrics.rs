//! The Prometheus recorder and its text.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use tidegate_model::RegionId;
use tidegate_telemetry::names;

/// Upper edges in seconds. 0.03 is the promise for `/public/*`, 0.25 and above show failovers.
const DURATION_EDGES: [f64; 13] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

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
        let edges = |name: &str| (Matcher::Full(name.to_owned()), &DURATION_EDGES);
        let mut builder = PrometheusBuilder::new();
        for (name, edges) in [
            edges(names::REQUEST_DURATION),
            edges(names::LEVEL_DURATION),
            edges(names::SESSION_WAIT),
            edges(names::UPSTREAM_DURATION),
        ] {
            builder = builder.set_buckets_for_metric(name, edges)?;
        }
        let handle = builder.install_recorder()?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("region", region.to_string()),
        ];
        metrics::gauge!(names::BUILD_INFO, &labels).set(1.0);
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

/// `GET /metrics` in the Prometheus text format.
pub(super) async fn render(State(recorder): State<Recorder>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        recorder.page(),
    )
}
