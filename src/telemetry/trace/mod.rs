//! Traces by OpenTelemetry's conventions: spans of sampled requests, sent to a collector over OTLP.
//!
//! A request carries its [`Current`] position in a task-local value, so what has no span to add knows
//! nothing of traces. Ended spans go into one bounded queue; what does not fit is dropped and counted, and
//! no request ever waits for a collector. Deliberately absent: links, events, baggage, logs and metrics
//! over OTLP, and every text that a client has sent except a path and `User-Agent`.

mod context;
mod sampler;
mod environment;
mod settings;
mod value;
mod record;
mod tracer;
mod current;
mod span;
mod server_span;
mod otlp;
mod exporter;

pub use context::{SpanContext, SpanId, TraceId};
pub use current::{Current, carried};
pub use exporter::{Exporter, ExporterError};
pub use record::SpanKind;
pub use server_span::{ServerAnswer, ServerSpan};
pub use settings::TraceSettings;
pub use span::ActiveSpan;
pub use tracer::Tracer;
pub use value::Value;
