//! Where spans are sent and which, by OpenTelemetry's environment variables.

use std::time::Duration;

use http::HeaderMap;
use tidegate_model::{ConfigError, Environment, RegionId};
use url::Url;
use uuid::Builder;

use super::environment::Variables;
use super::sampler::{RootSampler, Sampler};

/// The variables with the collector's URL: for traces as it is, and for all signals.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// Most spans that wait to be sent: more than a few kilobytes each would be too much memory.
const QUEUE_MAX: u32 = 65_536;
/// Most milliseconds of a timeout or delay: an hour.
const MILLIS_MAX: u32 = 3_600_000;

/// What of OTLP is not supported: variables that are warned of if they are set.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "the system's roots apply"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "the system's roots apply",
    ),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "no client certificate is shown",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "no client certificate is shown",
    ),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "no client certificate is shown",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "no client certificate is shown",
    ),
];

/// How traces are recorded and sent.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    pub(super) endpoint: Url,
    pub(super) is_json: bool,
    pub(super) headers: HeaderMap,
    /// For one batch, with all attempts to send it.
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    pub(super) queue_max: usize,
    pub(super) batch_max: usize,
    pub(super) delay: Duration,
    pub(super) resource: Vec<(String, String)>,
}

impl TraceSettings {
    /// Reads the variables; `None` where nothing is traced. Also returns what cannot be used of them, a line
    /// each.
    ///
    /// # Errors
    /// If a protocol is required that is not spoken.
    pub fn of(
        environment: &Environment,
        region: &RegionId,
        version: &str,
    ) -> Result<(Option<Self>, Vec<String>), ConfigError> {
        let mut variables = Variables {
            environment,
            warnings: Vec::new(),
        };
        if variables.first(&[TRACES_ENDPOINT, ENDPOINT]).is_none() || !is_on(&mut variables) {
            return Ok((None, variables.warnings));
        }
        let Some(endpoint) = endpoint(&mut variables) else {
            return Ok((None, variables.warnings));
        };
        let is_json = is_json(&mut variables)?;
        let queue_max = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, QUEUE_MAX);
        let batch_default = queue_max.min(512);
        let batch_max =
            variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_default, queue_max);
        let timeouts = [
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_BSP_EXPORT_TIMEOUT",
        ];
        let headers = [
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ];
        let settings = Self {
            endpoint,
            is_json,
            headers: variables.headers(&headers),
            timeout: variables.millis(&timeouts, 10_000, MILLIS_MAX),
            sampler: sampler(&mut variables),
            queue_max: queue_max as usize,
            batch_max: batch_max as usize,
            delay: variables.millis(&["OTEL_BSP_SCHEDULE_DELAY"], 5_000, MILLIS_MAX),
            resource: resource(&mut variables, region, version),
        };
        warn_of_others(&mut variables);
        Ok((Some(settings), variables.warnings))
    }
}

/// Whether the variables that turn traces off leave them on.
fn is_on(variables: &mut Variables<'_>) -> bool {
    let boolean = |text: &str| text.to_ascii_lowercase().parse().ok();
    let is_disabled = variables.read(&["OTEL_SDK_DISABLED"], false, boolean);
    let exporter = variables.read(&["OTEL_TRACES_EXPORTER"], "otlp", |text| {
        let mut known = ["otlp", "none"].into_iter();
        known.find(|it| *it == text)
    });
    !is_disabled && exporter == "otlp"
}

/// Where spans are sent.
fn endpoint(variables: &mut Variables<'_>) -> Option<Url> {
    let (name, text) = variables.first(&[TRACES_ENDPOINT, ENDPOINT])?;
    let url = Url::parse(text).ok();
    let url = url.filter(|url| {
        let is_http = matches!(url.scheme(), "http" | "https");
        is_http && url.username().is_empty() && url.password().is_none()
    });
    let Some(mut url) = url else {
        variables.warn(
            name,
            "nothing is traced; expected an http or https URL without a user name",
        );
        return None;
    };
    if name == ENDPOINT {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Some(url)
}

fn is_json(variables: &mut Variables<'_>) -> Result<bool, ConfigError> {
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    if let Some((name, "grpc")) = variables.first(&names) {
        let why = "gRPC is not supported; expected `http/protobuf` or `http/json`";
        return Err(ConfigError::variable(name, "grpc", why));
    }
    let protocol = variables.read(&names, "http/protobuf", |text| {
        let mut known = ["http/protobuf", "http/json"].into_iter();
        known.find(|it| *it == text)
    });
    Ok(protocol == "http/json")
}

fn sampler(variables: &mut Variables<'_>) -> Sampler {
    let name = variables.read(&["OTEL_TRACES_SAMPLER"], "parentbased_always_on", |text| {
        let known = [
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ];
        known.into_iter().find(|it| *it == text)
    });
    let root = name.strip_prefix("parentbased_");
    Sampler {
        root: match root.unwrap_or(name) {
            "always_off" => RootSampler::Off,
            "traceidratio" => {
                let ratio = |text: &str| text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
                RootSampler::Ratio(variables.read(&["OTEL_TRACES_SAMPLER_ARG"], 1.0, ratio))
            }
            _ => RootSampler::On,
        },
        is_parent_based: root.is_some(),
    }
}

/// What all spans are of: this process.
fn resource(
    variables: &mut Variables<'_>,
    region: &RegionId,
    version: &str,
) -> Vec<(String, String)> {
    let mut resource = vec![
        ("service.version".to_owned(), version.to_owned()),
        ("cloud.region".to_owned(), region.to_string()),
    ];
    if let Some((_, name)) = variables.first(&["OTEL_SERVICE_NAME"]) {
        resource.push(("service.name".to_owned(), name.to_owned()));
    }
    let given = variables.list(&["OTEL_RESOURCE_ATTRIBUTES"]).into_iter();
    let instance = Builder::from_random_bytes(fastrand::u128(..).to_le_bytes()).into_uuid();
    let defaults = [
        ("service.name".to_owned(), "tidegate".to_owned()),
        ("service.instance.id".to_owned(), instance.to_string()),
    ];
    for (key, value) in given.chain(defaults) {
        if !resource.iter().any(|(known, _)| *known == key) {
            resource.push((key, value));
        }
    }
    resource
}

/// Warns of what is set and has no effect here.
fn warn_of_others(variables: &mut Variables<'_>) {
    for (name, what_applies) in UNSUPPORTED {
        if variables.environment.get(name).is_some() {
            variables.warn(name, what_applies);
        }
    }
    let compressions = [
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ];
    variables.read(&compressions, "none", |text| {
        (text == "none").then_some("none")
    });
    variables.read(&["OTEL_PROPAGATORS"], "tracecontext", |text| {
        // Baggage is passed on as any other header is.
        let mut names = text.split(',').map(str::trim);
        let are_known = names.all(|it| matches!(it, "tracecontext" | "baggage"));
        are_known.then_some("tracecontext")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        variables: &[(&str, &str)],
    ) -> Result<(Option<TraceSettings>, Vec<String>), ConfigError> {
        let environment = Environment::from_pairs(variables.iter().copied());
        TraceSettings::of(&environment, &"eu-west-1".parse().unwrap(), "1.2.3")
    }

    /// With an endpoint.
    fn on(variables: &[(&str, &str)]) -> (TraceSettings, Vec<String>) {
        let all = [&[(ENDPOINT, "http://collector:4318")], variables].concat();
        let (settings, warnings) = read(&all).unwrap();
        (settings.expect("traces are on"), warnings)
    }

    #[test]
    fn traces_are_off_without_an_endpoint_and_where_a_variable_says_so() {
        let endpoint = (ENDPOINT, "http://collector:4318");
        for variables in [
            &[][..],
            &[(ENDPOINT, "")],
            &[("OTEL_TRACES_SAMPLER", "always_on")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[endpoint, ("OTEL_SDK_DISABLED", "TRUE")],
            &[endpoint, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            let (settings, warnings) = read(variables).unwrap();
            assert!(settings.is_none() && warnings.is_empty(), "{variables:?}");
        }
    }

    #[test]
    fn the_endpoint_of_all_signals_gets_a_path_and_that_of_traces_is_taken_as_it_is() {
        for (name, given, expected) in [
            (ENDPOINT, "http://c:4318", "http://c:4318/v1/traces"),
            (ENDPOINT, "https://c/otlp/", "https://c/otlp/v1/traces"),
            (TRACES_ENDPOINT, "http://c:4318", "http://c:4318/"),
            (TRACES_ENDPOINT, "http://c/x/", "http://c/x/"),
        ] {
            let settings = read(&[(name, given)]).unwrap().0.unwrap();
            assert_eq!(settings.endpoint.as_str(), expected, "{given}");
        }
        let both = [(ENDPOINT, "http://a"), (TRACES_ENDPOINT, "http://b/t")];
        let settings = read(&both).unwrap().0.unwrap();
        assert_eq!(settings.endpoint.as_str(), "http://b/t");
    }

    #[test]
    fn grpc_is_refused_and_the_variable_of_traces_goes_before_that_of_all() {
        let endpoint = (ENDPOINT, "http://c");
        let (all, traces) = (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        );
        for name in [all, traces] {
            let error = read(&[endpoint, (name, "grpc")]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} = \"grpc\":")), "{error}");
        }
        let settings = read(&[endpoint, (all, "grpc"), (traces, "http/json")]);
        assert!(settings.unwrap().0.unwrap().is_json);
    }

    #[test]
    fn a_value_that_is_not_known_is_one_warning_that_names_the_variable_and_its_default_applies() {
        for (name, value) in [
            ("OTEL_SDK_DISABLED", "yes"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/secret"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_RESOURCE_ATTRIBUTES", "secret"),
            ("OTEL_PROPAGATORS", "b3"),
        ] {
            let (settings, warnings) = on(&[(name, value)]);
            let [warning] = &warnings[..] else {
                panic!("{name}={value}: {warnings:?}");
            };
            assert!(
                warning.starts_with(name) && !warning.contains("secret"),
                "{warning}"
            );
            let default = Sampler {
                root: RootSampler::On,
                is_parent_based: true,
            };
            assert_eq!(settings.sampler, default, "{name}={value}");
            let numbers = (settings.queue_max, settings.batch_max, settings.is_json);
            assert_eq!(numbers, (2_048, 512, false), "{name}={value}");
            let times = (settings.timeout.as_secs(), settings.delay.as_secs());
            assert_eq!(times, (10, 5), "{name}={value}");
        }
        for url in ["collector:4318", "ftp://c", "http://user:secret@c", "//"] {
            let (settings, warnings) = read(&[(ENDPOINT, url)]).unwrap();
            assert!(settings.is_none(), "{url}");
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(ENDPOINT),
                "{warnings:?}"
            );
            assert!(!warnings[0].contains("secret"));
        }
    }

    #[test]
    fn known_values_are_taken_without_a_warning() {
        let (settings, warnings) = on(&[
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = y"),
            ("OTEL_PROPAGATORS", "tracecontext,baggage"),
            ("OTEL_SERVICE_NAME", "edge"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=no,team=web,cloud.region=x",
            ),
        ]);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(settings.sampler.root, RootSampler::Ratio(0.25));
        assert!(!settings.sampler.is_parent_based);
        assert_eq!((settings.queue_max, settings.batch_max), (100, 100));
        assert_eq!(settings.timeout.as_millis(), 250);
        assert_eq!(settings.headers["api-key"], "a b");
        assert!(!format!("{settings:?}").contains("a b"));
        let of = |key: &str| {
            let mut found = settings.resource.iter().filter(|(known, _)| known == key);
            let value = found.next().map(|(_, value)| value.as_str());
            assert!(found.next().is_none(), "{key} comes twice");
            value
        };
        assert_eq!(of("service.name"), Some("edge"));
        assert_eq!(of("service.version"), Some("1.2.3"));
        assert_eq!(of("cloud.region"), Some("eu-west-1"));
        assert_eq!(of("team"), Some("web"));
        assert_eq!(of("service.instance.id").map(str::len), Some(36));
    }
}
