//! The page of metrics as `OpenMetrics` 1.0, made of the Prometheus text format 0.0.4.
//!
//! The two differ in the names of counters' families, in how some numbers are written, in exemplars, and in the
//! last line.

use crate::exemplars::exemplar;

/// The content type of the page.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether an `Accept` field prefers `OpenMetrics` to the plain text format.
#[must_use]
pub fn accepts_openmetrics(accept: &str) -> bool {
    let weight = |wanted: &str, without: f32| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next()?;
            let is_other = |it: &str| it.starts_with("version=") && it != "version=1.0.0";
            let mut weight = 1.0;
            for part in parts {
                if wanted.starts_with("application/") && is_other(part) {
                    return None;
                }
                if let Some(given) = part.strip_prefix("q=") {
                    weight = given.parse().unwrap_or(0.0);
                }
            }
            name.eq_ignore_ascii_case(wanted).then_some(weight)
        });
        ranges.fold(without, f32::max)
    };
    let openmetrics = weight("application/openmetrics-text", 0.0);
    openmetrics > 0.0 && openmetrics >= weight("text/plain", 0.0)
}

/// Turns a page of the text format 0.0.4 into `OpenMetrics`.
#[must_use]
pub fn openmetrics(page: &str) -> String {
    let mut written = String::with_capacity(page.len() * 2);
    let mut help = None;
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, text)| text);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (family, kind) = match (kind, name.strip_suffix("_total")) {
                ("counter", Some(family)) => (family, kind),
                // A counter's samples must end so.
                ("counter" | "untyped", _) => (name, "unknown"),
                _ => (name, kind),
            };
            written.push_str(&format!("# TYPE {family} {kind}\n"));
            if let Some(help) = help.take() {
                let help = help.replace('"', "\\\"");
                written.push_str(&format!("# HELP {family} {help}\n"));
            }
        } else {
            write_sample(&mut written, line);
        }
    }
    written.push_str("# EOF\n");
    written
}

/// Writes a line of a sample; the buckets of histograms have canonical edges, and exemplars.
fn write_sample(written: &mut String, line: &str) {
    let Some((series, le, value)) = bucket(line) else {
        written.push_str(line);
        written.push('\n');
        return;
    };
    written.push_str(series);
    written.push_str("le=\"");
    written.push_str(le);
    if le.bytes().all(|byte| byte.is_ascii_digit()) {
        written.push_str(".0");
    }
    written.push_str(&format!("\"}} {value}{}\n", exemplar(series, le)));
}

/// Takes the line of a bucket apart: the series up to `le`, the upper edge, and the value.
fn bucket(line: &str) -> Option<(&str, &str, &str)> {
    // It is the last label.
    let at = line.rfind("le=\"")?;
    let (series, rest) = line.split_at(at);
    let (le, value) = rest.strip_prefix("le=\"")?.split_once("\"} ")?;
    let (name, _) = series.split_once('{')?;
    (name.ends_with("_bucket") && series.ends_with(['{', ','])).then_some((series, le, value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::exemplars::note_exemplar;
    use crate::trace::{SpanContext, SpanId, TraceId};

    const PAGE: &str = r#"# HELP requests_total a "quoted" text
# TYPE requests_total counter
requests_total{endpoint="/a"} 3

# TYPE odd counter
odd 1

# TYPE took histogram
took_bucket{endpoint="/a{x}",le="0.0005"} 0
took_bucket{endpoint="/a{x}",le="1"} 2
took_bucket{endpoint="/a{x}",le="+Inf"} 2
took_sum{endpoint="/a{x}"} 0.5
took_count{endpoint="/a{x}"} 2
"#;

    #[test]
    fn a_page_is_written_as_openmetrics_with_exemplars_where_there_are_some() {
        let context = SpanContext {
            trace: TraceId(0xaf),
            span: SpanId(0xb7),
            is_sampled: true,
        };
        let took = Duration::from_millis(700);
        note_exemplar("took", &[("endpoint", "/a{x}")], took, context);
        let page = openmetrics(PAGE);
        let lines: Vec<_> = page.lines().collect();
        let exemplar = "took_bucket{endpoint=\"/a{x}\",le=\"1.0\"} 2 # \
                        {trace_id=\"000000000000000000000000000000af\",span_id=\"00000000000000b7\"} 0.7 ";
        assert!(lines[7].starts_with(exemplar), "{page}");
        assert_eq!(
            [&lines[..7], &lines[8..]].concat(),
            [
                "# TYPE requests counter",
                "# HELP requests a \\\"quoted\\\" text",
                "requests_total{endpoint=\"/a\"} 3",
                "# TYPE odd unknown",
                "odd 1",
                "# TYPE took histogram",
                "took_bucket{endpoint=\"/a{x}\",le=\"0.0005\"} 0",
                "took_bucket{endpoint=\"/a{x}\",le=\"+Inf\"} 2",
                "took_sum{endpoint=\"/a{x}\"} 0.5",
                "took_count{endpoint=\"/a{x}\"} 2",
                "# EOF",
            ]
        );
    }

    #[test]
    fn openmetrics_is_written_only_where_it_is_asked_for() {
        let of_prometheus = "application/openmetrics-text;version=1.0.0,\
                             application/openmetrics-text;version=0.0.1;q=0.75,\
                             text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for accept in [
            of_prometheus,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0; charset=utf-8",
        ] {
            assert!(accepts_openmetrics(accept), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.5,text/plain",
        ] {
            assert!(!accepts_openmetrics(accept), "{accept}");
        }
    }
}
