//! An `[[endpoint]]` as written in TOML, and its conversion to an [`EndpointConfig`].

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use serde::Deserialize;
use toml::Spanned;

use super::endpoint_keys::STATUS_DEFAULT;
use super::page_section::PageSection;
use super::source::{Source, key};
use super::upstream_section::is_name;
use crate::endpoint::{EndpointAuth, EndpointConfig, EndpointMethod, TargetConfig, UpstreamTarget};
use crate::sql::SqlConfig;
use crate::upstream::{NodeUrl, PositionSource, UpstreamConfig};
use tidegate_model::ConfigError;
use tidegate_model::Environment;

/// One `[[endpoint]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointSection {
    method: Spanned<String>,
    path: Spanned<String>,
    auth: Option<Spanned<String>>,
    sql: Option<Spanned<String>>,
    status: Option<Spanned<i64>>,
    single: Option<Spanned<bool>>,
    body_strings: Option<Spanned<Vec<String>>>,
    settings: Option<Spanned<BTreeMap<String, String>>>,
    role: Option<Spanned<String>>,
    roles: Option<Spanned<Vec<String>>>,
    page: Option<Spanned<PageSection>>,
    upstream: Option<Spanned<String>>,
    cache: Option<Spanned<bool>>,
    position: Option<Spanned<String>>,
}

impl EndpointSection {
    /// Checks the section; a URL in place of an upstream's name adds an upstream.
    pub(super) fn resolve(
        &self,
        source: &Source,
        environment: &Environment,
        upstreams: &mut Vec<UpstreamConfig>,
    ) -> Result<EndpointConfig, ConfigError> {
        let auth = match &self.auth {
            None => EndpointAuth::None,
            Some(text) => source.parsed(text, "auth", |text| match text.as_str() {
                "none" => Ok(EndpointAuth::None),
                "jwt" => Ok(EndpointAuth::Jwt),
                _ => Err("expected `jwt` or `none`"),
            })?,
        };
        let method = source.parsed(&self.method, "method", |text| method(text))?;
        let cache = self.cache(source, &method, auth)?;
        let target = match (&self.sql, &self.upstream) {
            (Some(sql), None) => {
                if let Some(position) = &self.position {
                    let why = "it goes with `upstream`, not with `sql`";
                    return Err(source.refused(position, "position", why));
                }
                TargetConfig::Sql(self.sql(sql, source)?)
            }
            (None, Some(target)) => {
                self.refuse_sql_keys(source)?;
                let name = upstream(target, source, environment, upstreams)?;
                let position = self.position(source)?;
                TargetConfig::Upstream(UpstreamTarget {
                    name,
                    cache,
                    position,
                })
            }
            (None, None) => {
                let message = "sql: an endpoint needs either `sql` or `upstream`";
                return Err(ConfigError::new(&source.place(&self.method), message));
            }
            (Some(_), Some(upstream)) => {
                let why = "an endpoint has either `sql` or `upstream`";
                return Err(source.refused(upstream, "upstream", why));
            }
        };
        let keys = [
            ("path", Some(self.path.span().start)),
            key("sql", &self.sql),
            key("body_strings", &self.body_strings),
            key("settings", &self.settings),
            key("role", &self.role),
            key("roles", &self.roles),
            key("page", &self.page),
        ];
        Ok(EndpointConfig {
            place: source.table(&self.method, &keys),
            method,
            path: self.path.get_ref().clone(),
            auth,
            target,
        })
    }

    fn sql(&self, statement: &Spanned<String>, source: &Source) -> Result<SqlConfig, ConfigError> {
        let strings = self.body_strings.as_ref();
        Ok(SqlConfig {
            status: match &self.status {
                None => STATUS_DEFAULT,
                Some(code) => source.parsed(code, "status", |code| success_status(*code))?,
            },
            statement: statement.get_ref().clone(),
            single: self.single.as_ref().is_some_and(|it| *it.get_ref()),
            body_strings: strings.map_or_else(Vec::new, |names| names.get_ref().clone()),
            settings: match &self.settings {
                None => Vec::new(),
                Some(settings) => settings.get_ref().clone().into_iter().collect(),
            },
            role: self.role.as_ref().map(|it| it.get_ref().clone()),
            roles: self.roles.as_ref().map(|it| it.get_ref().clone()),
            page: self.page.as_ref().map(|it| it.get_ref().clone().resolve()),
        })
    }

    /// Whether all clients get the same answer from an upstream; for a statement this is known.
    fn cache(
        &self,
        source: &Source,
        method: &EndpointMethod,
        auth: EndpointAuth,
    ) -> Result<bool, ConfigError> {
        let Some(cache) = &self.cache else {
            return Ok(false);
        };
        let refused = match () {
            () if self.upstream.is_none() => "it goes with `upstream`, not with `sql`",
            () if ![EndpointMethod::One(Method::GET), EndpointMethod::Any].contains(method) => {
                "it goes with `GET` and `*` alone"
            }
            () if auth != EndpointAuth::None => "a bearer's answer is the bearer's alone",
            () => return Ok(*cache.get_ref()),
        };
        Err(source.refused(cache, "cache", refused))
    }

    fn position(&self, source: &Source) -> Result<PositionSource, ConfigError> {
        let said = self.position.as_ref();
        let read = said.map(|said| source.parsed(said, "position", |text| text.parse()));
        read.unwrap_or(Ok(PositionSource::default()))
    }

    /// Refuses keys that shape the answer of a statement: they mean nothing to an upstream.
    fn refuse_sql_keys(&self, source: &Source) -> Result<(), ConfigError> {
        fn refuse<T>(
            source: &Source,
            key: &str,
            value: &Option<Spanned<T>>,
        ) -> Result<(), ConfigError> {
            let why = "it goes with `sql`, not with `upstream`";
            let refused = value.as_ref().map(|it| source.refused(it, key, why));
            refused.map_or(Ok(()), Err)
        }
        refuse(source, "status", &self.status)?;
        refuse(source, "single", &self.single)?;
        refuse(source, "body_strings", &self.body_strings)?;
        refuse(source, "settings", &self.settings)?;
        refuse(source, "role", &self.role)?;
        refuse(source, "roles", &self.roles)?;
        refuse(source, "page", &self.page)
    }
}

/// Finds the upstream that an endpoint names, or adds one for the URL it gives.
fn upstream(
    target: &Spanned<String>,
    source: &Source,
    environment: &Environment,
    upstreams: &mut Vec<UpstreamConfig>,
) -> Result<String, ConfigError> {
    let text = source.expanded(target, "upstream", environment)?;
    let known = |name: &str| upstreams.iter().any(|known| known.name == name);
    if is_name(&text) {
        let missing = || format!("there is no [[upstream]] named `{text}`");
        return source.parsed(target, "upstream", |_| {
            known(&text).then(|| text.clone()).ok_or_else(missing)
        });
    }
    let url: NodeUrl = source.parsed(target, "upstream", |_| text.parse())?;
    let name = url.to_string();
    if !known(&name) {
        upstreams.push(UpstreamConfig::of_url(source.place(target), url));
    }
    Ok(name)
}

fn method(text: &str) -> Result<EndpointMethod, &'static str> {
    let method = match text {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        "*" => return Ok(EndpointMethod::Any),
        _ => return Err("expected GET, POST, PUT, PATCH, DELETE or *"),
    };
    Ok(EndpointMethod::One(method))
}

fn success_status(code: i64) -> Result<StatusCode, &'static str> {
    let status = u16::try_from(code).map(StatusCode::from_u16);
    match status {
        Ok(Ok(status)) if status.is_success() && status != StatusCode::NO_CONTENT => Ok(status),
        _ => Err("expected a success that has a body: 200, 201 or 202"),
    }
}
