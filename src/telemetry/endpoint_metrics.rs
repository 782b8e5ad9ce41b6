//! The metrics of one endpoint, with handles that are created once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram};

use super::{names, note_exemplar};
use crate::trace::SpanContext;

/// Methods, as used in labels.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];

/// The statuses that this gateway uses; others are counted too, only more slowly.
const STATUSES: [u16; 20] = [
    200, 201, 202, 204, 304, 400, 401, 404, 405, 408, 409, 413, 415, 422, 429, 499, 500, 502, 503,
    504,
];

/// Counts and times the requests of one endpoint.
///
/// Handles are created when first needed, so that an endpoint may exist before the recorder.
#[derive(Debug)]
pub struct EndpointMetrics {
    label: Arc<str>,
    duration: OnceLock<Histogram>,
    requests: [OnceLock<Box<[OnceLock<Counter>; STATUSES.len()]>>; METHODS.len()],
}

impl EndpointMetrics {
    /// Sets the template whose requests are counted.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self {
            label: label.into(),
            duration: OnceLock::new(),
            requests: Default::default(),
        }
    }

    /// The template, which also labels access lines.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The same, for what outlives the endpoint.
    #[must_use]
    pub fn shared_label(&self) -> Arc<str> {
        Arc::clone(&self.label)
    }

    /// Counts one request, whose span is at `sampled` if it is recorded.
    pub fn count(
        &self,
        method: &'static str,
        status: u16,
        took: Duration,
        sampled: Option<SpanContext>,
    ) {
        if let Some(context) = sampled {
            let labels = [("endpoint", &*self.label)];
            note_exemplar(names::REQUEST_DURATION, &labels, took, context);
        }
        self.duration
            .get_or_init(
                || metrics::histogram!(names::REQUEST_DURATION, "endpoint" => self.label.to_string()),
            )
            .record(took.as_secs_f64());
        match self.slot(method, status) {
            Some(counter) => counter
                .get_or_init(|| self.counter(method, status))
                .increment(1),
            None => self.counter(method, status).increment(1),
        }
    }

    fn slot(&self, method: &str, status: u16) -> Option<&OnceLock<Counter>> {
        let method = METHODS.iter().position(|known| *known == method)?;
        let status = STATUSES.iter().position(|known| *known == status)?;
        let row = self.requests.get(method)?.get_or_init(Box::default);
        row.get(status)
    }

    fn counter(&self, method: &'static str, status: u16) -> Counter {
        let labels = [
            ("endpoint", self.label.to_string()),
            ("method", method.to_owned()),
            ("status", status.to_string()),
        ];
        metrics::counter!(names::REQUESTS, &labels)
    }
}
