//! A `[[policy]]` as written in TOML, and its conversion to a [`PolicyRow`].

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::source::{Source, key};
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Consistency};
use tidegate_policy::{CORS_MAX_AGE_DEFAULT, CorsRow, NO_STORE_PRIVATE, PolicyRow};

/// One `[[policy]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicySection {
    path: Spanned<String>,
    consistency: Option<Spanned<String>>,
    cache_control: Option<Spanned<String>>,
    #[serde(default)]
    session_cookie: bool,
    rate_limit: Option<Spanned<String>>,
    cors: Option<Spanned<CorsSection>>,
}

/// `cors` of a `[[policy]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CorsSection {
    #[serde(default)]
    origins: Vec<String>,
    methods: Option<Vec<String>>,
    headers: Option<Vec<String>>,
    #[serde(default)]
    expose: Vec<String>,
    #[serde(default)]
    credentials: bool,
    max_age: Option<Spanned<String>>,
}

const CONSISTENCY_DEFAULT: Consistency = Consistency::STRONG;

/// Longest `max_age` of `cors`: browsers keep nothing for longer than a day.
const CORS_MAX_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The keys of a `[[policy]]`.
pub(super) const POLICY: &[Setting] = &[
    Setting {
        key: "path",
        range: || "a path, which may end with `/*` or `*`".to_owned(),
        meaning: "`\"/x\"` is that path, `\"/x/*\"` is `/x` and everything below it, `\"/x*\"` is every \
                  path that starts with `/x`. The row with the longest literal part wins.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "consistency",
        default: || format!("\"{CONSISTENCY_DEFAULT}\""),
        range: || "a [level](consistency.md#levels)".to_owned(),
        meaning: "The floor: the weakest level that a request on this path gets.",
        too_low: "clients read older data than they can bear.",
        too_high: "requests go to the primary that a replica could serve.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "cache_control",
        default: || format!("\"{}\"", NO_STORE_PRIVATE.to_str().unwrap_or_default()),
        range: || {
            "the value of a `Cache-Control` field; `public` on `eventual` rows only; `application` on `eventual` rows of upstreams only".to_owned()
        },
        meaning: "The `Cache-Control` of successful answers; `public` with a lifetime turns on the \
                  [response cache](caching.md). `\"application\"` leaves it to the \
                  [application](caching.md#the-applications-own-rules).",
        too_low: "answers are fetched again that could have been kept.",
        too_high: "clients and shared caches keep what has changed since.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "session_cookie",
        default: || "false".to_owned(),
        range: || "`true` or `false`; the row must be `no-store`".to_owned(),
        meaning: "Whether the token also travels in a [cookie](consistency.md#browsers).",
        ..Setting::UNNAMED
    },
    Setting {
        key: "rate_limit",
        default: || "none".to_owned(),
        range: || {
            "requests per `s`, `min`, `h` or `d`, and a burst: `\"600/min;burst=50\"`".to_owned()
        },
        meaning: "How many requests one client may send; see [Rate limits](security.md#rate-limits).",
        too_low: "honest clients get 429.",
        too_high: "one client can take what is there for all.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "cors",
        default: || "none".to_owned(),
        range: || {
            "a table: `origins`, `methods`, `headers`, `expose`, `credentials`, `max_age`"
                .to_owned()
        },
        meaning: "Which pages of [other origins](api.md#pages-of-other-origins) may call these paths.",
        ..Setting::UNNAMED
    },
];

impl PolicySection {
    /// Reads the values of the row.
    pub(super) fn resolve(&self, source: &Source) -> Result<PolicyRow, ConfigError> {
        let cors_keys = [
            "cors.origins",
            "cors.methods",
            "cors.headers",
            "cors.expose",
        ];
        let cors_keys = cors_keys.map(|name| key(name, &self.cors));
        let keys: Vec<_> = [key("cache_control", &self.cache_control)]
            .into_iter()
            .chain(cors_keys)
            .collect();
        Ok(PolicyRow {
            place: source.table(&self.path, &keys),
            path: self.path.get_ref().clone(),
            consistency: match &self.consistency {
                None => CONSISTENCY_DEFAULT,
                Some(text) => source.parsed(text, "consistency", |text| text.parse())?,
            },
            cache_control: self.cache_control.as_ref().map(|it| it.get_ref().clone()),
            session_cookie: self.session_cookie,
            rate_limit: match &self.rate_limit {
                None => None,
                Some(text) => Some(source.parsed(text, "rate_limit", |text| text.parse())?),
            },
            cors: match &self.cors {
                None => None,
                Some(cors) => Some(cors.get_ref().resolve(source)?),
            },
        })
    }
}

impl CorsSection {
    fn resolve(&self, source: &Source) -> Result<CorsRow, ConfigError> {
        let duration = |text: &String| {
            let read = humantime::parse_duration(text).ok();
            let usable = read.filter(|it| it.subsec_nanos() == 0 && *it <= CORS_MAX_AGE_MAX);
            usable.ok_or(
                "expected a duration such as \"1h\", in whole seconds and of at most 365 days",
            )
        };
        Ok(CorsRow {
            origins: self.origins.clone(),
            methods: self.methods.clone(),
            headers: self.headers.clone(),
            expose: self.expose.clone(),
            credentials: self.credentials,
            max_age: match &self.max_age {
                None => CORS_MAX_AGE_DEFAULT,
                Some(text) => source.parsed(text, "cors.max_age", duration)?,
            },
        })
    }
}
