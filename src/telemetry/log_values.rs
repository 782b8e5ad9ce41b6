//! What no log filter turns on: lines with the values that statements are sent with.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Where the database driver writes each statement with its parameters, at `debug`; it writes nothing else there.
const WITHOUT_VALUES: &str = "tokio_postgres::query=info";

/// Has a filter leave out such lines: values are of clients, and may be secrets.
///
/// # Errors
/// None while the directive above is one.
pub(crate) fn without_values(filter: EnvFilter) -> Result<EnvFilter, ParseError> {
    Ok(filter.add_directive(WITHOUT_VALUES.parse()?))
}

#[cfg(test)]
mod tests {
    use tracing::{Level, subscriber};

    use super::*;

    #[test]
    fn the_values_of_a_statement_are_not_logged_whatever_the_filter_says() {
        for given in [
            "trace",
            "debug,tokio_postgres=trace",
            "debug,tokio_postgres::query=debug",
        ] {
            let filter = without_values(EnvFilter::new(given)).unwrap();
            let of_test = tracing_subscriber::fmt().with_env_filter(filter);
            let is_logged = subscriber::with_default(of_test.finish(), || {
                (
                    tracing::enabled!(target: "tokio_postgres::query", Level::DEBUG),
                    tracing::enabled!(target: "tokio_postgres::connection", Level::DEBUG),
                )
            });
            assert_eq!(is_logged, (false, true), "{given}");
        }
    }
}
