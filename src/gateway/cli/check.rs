//! `tidegate check`: reports what `serve` would do, without doing it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::ToSocketAddrs;

use super::Exit;
use super::arguments::CheckCommand;
use super::edge_policy::edge_policy;
use super::url_warning::warn_of_url;
use crate::endpoint::{Backend, Routes};
use crate::endpoint::{EndpointAuth, RouteTables};
use crate::gateway::config::{InForce, Settings, in_force};
use crate::gateway::nodes::session;
use crate::gateway::statement_check::check_on_any_node;
use crate::peers::Peer;
use crate::policy_store::state_dir_fault;
use crate::sql::LocalSettings;
use crate::upstream::PositionSource;
use tidegate_model::Environment;

/// Validates everything that needs no database, and the statements of endpoints, with their settings and
/// roles, if a node answers; prints the effective tables.
pub(super) async fn check(command: CheckCommand, environment: &Environment) -> Result<(), Exit> {
    let overrides = command.settings;
    let text = if command.edge_policy {
        let routes = Routes::compile(&RouteTables::load(&overrides, environment)?)?;
        edge_policy(&routes.policies)
    } else {
        let settings = Settings::resolve(&overrides, environment)?;
        let routes = Routes::compile(&settings.routes)?;
        settings.servers().iter().for_each(warn_of_url);
        [
            nodes(&settings),
            certificate(&settings)?,
            trusted_proxies(&settings),
            traffic_policy(&settings),
            fleet(&settings)?,
            state_dir(&settings),
            policies(&routes),
            endpoints(&routes),
            statements(&settings, &routes).await?,
            upstreams(&routes),
            settings_in_force(in_force(
                &overrides,
                environment,
                &settings.routes.upstreams,
            )?),
        ]
        .concat()
    };
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).map_err(Exit::failed)
}

fn nodes(settings: &Settings) -> String {
    let place = settings
        .primary_region
        .as_ref()
        .map_or("", |region| region.as_str());
    let mut text = format!("region    {}\n\nNODES, nearest first\n", settings.region);
    for replica in &settings.replicas {
        line(
            &mut text,
            format_args!("replica   {:<16} {}", replica.region, replica.server),
        );
    }
    line(
        &mut text,
        format_args!("primary   {place:<16} {}", settings.primary),
    );
    text
}

/// The certificate that clients get, if there is one.
fn certificate(settings: &Settings) -> Result<String, Exit> {
    let Some(files) = &settings.tls else {
        return Ok(String::new());
    };
    let certificate = files.load().map_err(Exit::unusable)?;
    let (path, until) = (files.certificate.display(), certificate.not_after);
    let until = humantime::format_rfc3339_seconds(until);
    Ok(format!("\nCERTIFICATE\n{path} is valid until {until}\n"))
}

fn trusted_proxies(settings: &Settings) -> String {
    let networks = &settings.server.trusted_proxies;
    if networks.is_empty() {
        return String::new();
    }
    let mut text = "\nTRUSTED PROXIES\n".to_owned();
    for network in networks {
        line(&mut text, format_args!("{network}"));
    }
    text
}

/// Nothing when there is none.
fn traffic_policy(settings: &Settings) -> String {
    let Some(policy) = &settings.routes.regions.policy else {
        return String::new();
    };
    let (name, summary) = (&policy.name, &policy.summary);
    let stated = format!("\nTRAFFIC POLICY\n{name}: {summary}\n");
    let region = &settings.region;
    match policy.plan.region_index(region.as_str()) {
        Some(_) => stated,
        None => stated + &format!("warning: it does not declare this region, {region}\n"),
    }
}

/// The fleet's certificate and the peers; nothing without a fleet.
fn fleet(settings: &Settings) -> Result<String, Exit> {
    let Some(fleet) = &settings.fleet else {
        return Ok(String::new());
    };
    let read = fleet.files.read_at_start(&settings.region);
    let (_, untimely) = read.map_err(Exit::unusable)?;
    let warning = untimely.map_or_else(String::new, |why| format!(" (warning: it {why})"));
    let path = fleet.files.certificate.display();
    let mut text = format!("\nFLEET\n{path} is of {}{warning}\n", settings.region);
    for Peer { region, address } in &fleet.peers {
        let warning = match address.to_socket_addrs() {
            Ok(_) => "",
            Err(_) => " (warning: the name does not resolve)",
        };
        line(&mut text, format_args!("{region:<16} {address}{warning}"));
    }
    let policy = settings.routes.regions.policy.iter();
    for region in policy.flat_map(|policy| policy.plan.regions()) {
        let is_listed = fleet.peers.iter().any(|peer| peer.region == region.id);
        if !is_listed && region.id != settings.region {
            let region = &region.id;
            let what = "is a region of the traffic policy and no peer: it is unreachable";
            line(&mut text, format_args!("warning: {region} {what}"));
        }
    }
    Ok(text)
}

/// Where the state file is; nothing without `state_dir`.
fn state_dir(settings: &Settings) -> String {
    let Some(directory) = &settings.store.state_dir else {
        return String::new();
    };
    let fault = state_dir_fault(directory);
    let warning = fault.map_or_else(String::new, |error| {
        format!(" (warning: it cannot be written: {error})")
    });
    format!("\nSTATE DIRECTORY\n{}{warning}\n", directory.display())
}

fn policies(routes: &Routes) -> String {
    let mut text = "\nPOLICIES, by path\n".to_owned();
    for row in routes.policies.rows() {
        let (pattern, floor) = (row.pattern().to_string(), row.floor().to_string());
        let cache = row.cache_control().as_written();
        let cookie = if row.session_cookie() {
            "; session cookie"
        } else {
            ""
        };
        let limit = row.rate_limit();
        let limit = limit.map_or_else(String::new, |limit| format!("; {limit} per client"));
        let cors = row.cors();
        let cors = cors.map_or_else(String::new, |cors| format!("; cors: {cors}"));
        line(
            &mut text,
            format_args!("{pattern:<28} {floor:<28} {cache}{cookie}{limit}{cors}"),
        );
    }
    line(
        &mut text,
        format_args!("{:<28} {:<28} no-store, private", "any other", "strong"),
    );
    text
}

fn endpoints(routes: &Routes) -> String {
    let mut text = "\nENDPOINTS\n".to_owned();
    for endpoint in routes.router.endpoints() {
        let auth = match endpoint.auth {
            EndpointAuth::None => "",
            EndpointAuth::Jwt => "jwt",
        };
        let (method, template) = (&endpoint.method, &endpoint.template);
        let target = match &endpoint.backend {
            Backend::Upstream {
                upstream,
                cache,
                position,
                ..
            } => {
                let cached = if *cache { ", cached" } else { "" };
                let position = match position {
                    PositionSource::Header => String::new(),
                    other => format!(", position: {other}"),
                };
                format!(" -> {}{cached}{position}", upstream.name())
            }
            Backend::Sql(target) => {
                let local = target.local.as_ref();
                let sets = local.map_or_else(String::new, |local| format!("; sets {local}"));
                let page = target.page.as_ref();
                sets + &page.map_or_else(String::new, |page| format!("; {page}"))
            }
        };
        let place = &endpoint.place;
        line(
            &mut text,
            format_args!("{method:<6} {template:<36} {auth:<4} {place}{target}"),
        );
    }
    text
}

/// Whether the statements can be prepared, and the roles that requests may have; nothing if there are none.
async fn statements(settings: &Settings, routes: &Routes) -> Result<String, Exit> {
    let endpoints = || routes.router.sql_endpoints();
    if endpoints().next().is_none() {
        return Ok(String::new());
    }
    let servers = settings.servers();
    let checked = check_on_any_node(&servers, &session(settings), routes).await?;
    let said = checked.map_or_else(
        || "warning: no node answers, so statements, settings and roles are not checked".to_owned(),
        |server| format!("all can be prepared, by {server}"),
    );
    let mut text = format!("\nSTATEMENTS\n{said}\n");
    let locals = endpoints().filter_map(|(_, sql)| sql.local.as_deref());
    let roles: BTreeSet<_> = locals.flat_map(LocalSettings::roles).collect();
    if !roles.is_empty() {
        let roles: Vec<_> = roles.into_iter().collect();
        let said = checked.map_or_else(
            || "warning: no node answers, so membership is not checked".to_owned(),
            |server| format!("the gateway's own role may take them, by {server}"),
        );
        line(
            &mut text,
            format_args!("\nROLES\n{}\n{said}", roles.join(", ")),
        );
    }
    Ok(text)
}

/// The table of upstreams; empty if there are none.
fn upstreams(routes: &Routes) -> String {
    let mut text = String::new();
    for upstream in routes.upstreams.iter() {
        if text.is_empty() {
            text.push_str("\nUPSTREAMS, nearest node first\n");
        }
        let settings = upstream.settings();
        for node in &settings.nodes {
            let region = node.region.as_ref().map_or("", |region| region.as_str());
            let (name, url) = (upstream.name(), &node.url);
            let check = settings.check.as_ref().map_or_else(String::new, |check| {
                let interval = humantime::format_duration(check.interval);
                format!("; GET {} every {interval}", check.path)
            });
            line(
                &mut text,
                format_args!("{name:<16} {region:<16} {url}{check}"),
            );
        }
    }
    text
}

/// Every setting with its value and its source.
fn settings_in_force(values: Vec<InForce>) -> String {
    let mut text = "\nSETTINGS, and where they come from\n".to_owned();
    for InForce { name, value, place } in values {
        let place = place.map_or_else(|| "default".to_owned(), |place| place.to_string());
        line(&mut text, format_args!("{name:<36} {value:<36} {place}"));
    }
    text
}

/// Appends one line to a string, which cannot fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _infallible = writeln!(text, "{arguments}");
}
