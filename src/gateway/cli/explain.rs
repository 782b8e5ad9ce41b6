//! `tidegate explain`: the decision for one request, and why, from the configuration alone.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::Exit;
use super::arguments::ExplainCommand;
use crate::cache::CacheSettings;
use crate::endpoint::RouteTables;
use crate::endpoint::{Backend, Reached, Routes};
use crate::gateway::config::{CONFIG, Overrides, cache_settings, token_keys};
use crate::http::{PROBE_PATHS, Problem};
use tidegate_model::ConfigError;
use tidegate_model::Environment;
use tidegate_model::{Level, RequestToken, TokenKeys, X_CONSISTENCY, X_CONSISTENCY_TOKEN};
use tidegate_policy::{Decision, Lifetime, Row};

/// Prints what would be decided for one request.
pub(super) fn explain(command: ExplainCommand, environment: &Environment) -> Result<(), Exit> {
    let method: Method = command.method.parse().map_err(|_bad| {
        ConfigError::variable(
            "METHOD",
            &command.method,
            "expected an HTTP method such as GET",
        )
    })?;
    let uri: Uri = command.path.parse().map_err(|_bad| {
        ConfigError::variable(
            "PATH",
            &command.path,
            "expected a path such as /public/rates?x=1",
        )
    })?;
    let headers = headers(&command.headers)?;
    let overrides = Overrides::default().with(&CONFIG, command.config);
    let routes = Routes::compile(&RouteTables::load(&overrides, environment)?)?;
    let cache = cache_settings(&overrides, environment)?;
    let keys = token_keys(environment)?
        .map_or_else(TokenKeys::random, Ok)
        .map_err(Exit::failed)?;
    let text = match decide(&routes, &keys, &method, uri.path(), &headers) {
        Ok((reached, decision)) => {
            describe(&reached, &decision, &method, &headers)
                + &cache_in_words(&cache, &reached, &decision, &headers)
        }
        Err(_not_an_endpoint) if PROBE_PATHS.contains(&uri.path()) => {
            "answer        from memory, by no node; Cache-Control: no-store\n".to_owned()
        }
        Err(problem) => format!(
            "answer        {} problem: {problem}\n",
            problem.kind().name()
        ),
    };
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).map_err(Exit::failed)
}

fn decide<'a>(
    routes: &'a Routes,
    keys: &TokenKeys,
    method: &Method,
    path: &'a str,
    headers: &HeaderMap,
) -> Result<(Reached<'a>, Decision), Problem> {
    let reached = Reached::find(routes, method, path)?;
    let decision = reached.decide(keys, method, headers)?;
    Ok((reached, decision))
}

fn describe(
    reached: &Reached<'_>,
    decision: &Decision,
    method: &Method,
    headers: &HeaderMap,
) -> String {
    let endpoint = &reached.endpoint;
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn std::fmt::Display| {
        let _infallible = writeln!(text, "{label:<13} {value}");
    };
    line(
        "endpoint",
        &format_args!(
            "{} {} ({})",
            endpoint.method, endpoint.template, endpoint.place
        ),
    );
    match reached.policy {
        Some(row) => line(
            "policy",
            &format_args!("{}: at least {}", row.pattern(), row.floor()),
        ),
        None => line("policy", &"none covers the path: strong, no-store"),
    }
    if let Some(limit) = reached.policy.and_then(Row::rate_limit) {
        line("rate-limit", &format_args!("{limit} per client"));
    }
    if let Some(cors) = reached.policy.and_then(Row::cors) {
        line("cors", cors);
    }
    let stated = headers
        .get(&X_CONSISTENCY)
        .and_then(|value| value.to_str().ok());
    line("stated", &stated.unwrap_or("nothing"));
    line("token", &token_in_words(decision.token, headers));
    line("level", &decision.consistency);
    if let Backend::Upstream {
        upstream, position, ..
    } = &endpoint.backend
    {
        line("position", position);
        for node in &upstream.settings().nodes {
            let region = node
                .region
                .as_ref()
                .map_or("here", |region| region.as_str());
            line("upstream", &format_args!("{region} {}", node.url));
        }
    }
    if let Some(target) = endpoint.sql() {
        line("nodes", &nodes_in_words(decision, method));
        if let Some(local) = &target.local {
            line("sets", local);
        }
        if let Some(page) = &target.page {
            line("page", page);
        }
    }
    line(
        "cache-control",
        &match decision.own_rules {
            true => "the application's own",
            false => decision.cache_control.to_str().unwrap_or_default(),
        },
    );
    text
}

/// What the response cache may do, line by line.
fn cache_in_words(
    settings: &CacheSettings,
    reached: &Reached<'_>,
    decision: &Decision,
    headers: &HeaderMap,
) -> String {
    let off = settings.bytes_max == 0;
    let is_application = |row: &Row| row.cache_control().is_application();
    let may_store = reached.endpoint.backend.shared_by().is_some();
    let words = match reached.lifetime(decision, headers) {
        _ if off => "off: bytes_max is 0".to_owned(),
        Err(_) if may_store && reached.policy.is_some_and(is_application) => {
            own_rules_in_words(decision).to_owned()
        }
        Err(why_not) => format!("not for this request: {why_not}"),
        Ok(lifetime) => {
            let Lifetime {
                fresh,
                while_revalidate,
                if_error,
            } = lifetime;
            format!(
                "up to an age of {} s, the node's staleness included; then {} s while it is \
                 renewed, {} s if no node can answer",
                fresh.as_secs(),
                while_revalidate.as_secs(),
                if_error.as_secs()
            )
        }
    };
    format!("{:<13} {words}\n", "cache")
}

fn own_rules_in_words(decision: &Decision) -> &'static str {
    match decision.own_rules {
        true => "as the application's answers and the request say (RFC 9111)",
        false => "not for this request: a level or a token is stated",
    }
}

fn token_in_words(token: RequestToken, headers: &HeaderMap) -> &'static str {
    match token {
        RequestToken::None if headers.contains_key(&X_CONSISTENCY_TOKEN) => "malformed",
        RequestToken::None => "none",
        RequestToken::Verified(_) => "verified: a floor under any level",
        RequestToken::Unverifiable => "not signed with a key of TOKEN_SECRET: primary only",
    }
}

fn nodes_in_words(decision: &Decision, method: &Method) -> &'static str {
    let token = decision.token;
    match decision.consistency.level {
        _ if !method.is_safe() => "the primary: it may write",
        Level::Strong => "the primary",
        _ if token == RequestToken::Unverifiable => "the primary",
        Level::Session | Level::Eventual if token.is_present() => {
            "the nearest replica that has replayed the token's position, else the primary"
        }
        Level::Bounded => "the nearest replica proven to be within the bound, else the primary",
        Level::Session | Level::Eventual => {
            "the nearest replica, then other replicas, then the primary"
        }
    }
}

fn headers(lines: &[String]) -> Result<HeaderMap, Exit> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let unusable = || ConfigError::variable("-H", line, "expected `Name: value`");
        let (name, value) = line.split_once(':').ok_or_else(unusable)?;
        let name: HeaderName = name.trim().parse().map_err(|_bad| unusable())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_bad| unusable())?;
        headers.append(name, value);
    }
    Ok(headers)
}
