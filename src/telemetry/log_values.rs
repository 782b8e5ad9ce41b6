//! What no log filter turns on: lines with the values of statements, and with signatures.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;

/// Where libraries write values of clients at `debug` and `trace`: the database driver each statement with its
/// parameters; that of the S3 protocol whole requests with their signatures, and the signature that one lacks; that of
/// HTTP/2 a path that it refuses, with its query.
const WITH_VALUES: [&str; 3] = ["tokio_postgres::query", "s3s", "h2::server"];

/// Has a subscriber leave out such lines: values are of clients, and may be secrets.
///
/// No directive of an [`EnvFilter`](tracing_subscriber::EnvFilter) can do so, since one for a span or a field comes
/// before all that name a target alone.
pub(crate) fn without_values(
    subscriber: impl Subscriber + Send + Sync,
) -> impl Subscriber + Send + Sync + 'static {
    subscriber.with(filter_fn(has_no_values))
}

fn has_no_values(line: &Metadata<'_>) -> bool {
    let target = line.target();
    *line.level() <= Level::INFO || !WITH_VALUES.iter().any(|it| target.starts_with(it))
}

#[cfg(test)]
mod tests {
    use tracing::subscriber;
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn the_values_of_a_statement_are_not_logged_whatever_the_filter_says() {
        for given in [
            "trace",
            "debug,tokio_postgres=trace",
            "debug,tokio_postgres::query=debug",
            "debug,s3s=trace",
            "debug,s3s::service=debug,h2::server=trace",
            "info,[monitor]=trace",
        ] {
            let of_test = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(given));
            let of_test = without_values(of_test.finish());
            let is_logged = subscriber::with_default(of_test, || {
                let _monitor = tracing::info_span!("monitor").entered();
                [
                    tracing::enabled!(target: "tokio_postgres::query", Level::DEBUG),
                    tracing::enabled!(target: "s3s::ops::signature", Level::DEBUG),
                    tracing::enabled!(target: "s3s::service", Level::DEBUG),
                    tracing::enabled!(target: "h2::server", Level::DEBUG),
                    tracing::enabled!(target: "tokio_postgres::connection", Level::DEBUG),
                    tracing::enabled!(target: "s3s::ops", Level::ERROR),
                ]
            });
            let expected = [false, false, false, false, true, true];
            assert_eq!(is_logged, expected, "{given}");
        }
    }
}
