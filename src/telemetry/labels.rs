//! The labels of a series, as the Prometheus text format has them.

use std::fmt::Write as _;

/// Writes labels, each with a comma behind it.
pub(super) fn write_labels<'a>(
    text: &mut String,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a text cannot fail.
        let _written = write!(text, "{name}=\"{}\",", value.replace('\n', "\\n"));
    }
}
