//! `tidegate policy explain`: the decision for one request, and why.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use jiff::Timestamp;
use serde::Serialize;
use tidegate_model::{normalise, printable};
use tidegate_traffic::decide::{Request, Target, decide, hint_of};
use tidegate_traffic::facts::{Conditions, Facts, RegionStanding, by_distance};
use tidegate_traffic::place::{GeoPoint, is_assigned};
use tidegate_traffic::plan::{Country, Plan, RegionIndex, RegionMask};
use tidegate_traffic::ramp_position;
use tidegate_traffic::schedule::Schedule;
use tidegate_traffic::show::{self, Explained};

use super::arguments::ExplainPolicyCommand;
use super::file::{print, print_pretty};
use crate::gateway::cli::Exit;
use crate::http::{HostError, host, without_port};
use crate::peers::Peer;

/// An address reserved for documentation by RFC 5737.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A decision, and where it sends the request.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    explained: Explained,
    /// The addresses, or why there is none.
    next_hop: String,
}

/// Prints the decision for one request; `peers` are the gateways of other regions.
pub(super) fn explain(
    command: &ExplainPolicyCommand,
    plan: &Plan,
    peers: &[Peer],
) -> Result<(), Exit> {
    let facts = Facts::new(plan, conditions(plan, command)?);
    let method: Method = parsed("METHOD", &command.method, "an HTTP method such as GET")?;
    let uri: Uri = parsed("PATH", &command.path, "a path such as /account?x=1")?;
    let headers = headers(&command.headers)?;
    let host = known_host(&uri, &headers)?;
    let path = normalise(uri.path()).map_err(|error| refused("PATH", &command.path, error))?;
    let country = command.country.as_deref();
    let country = country.map(known_country).transpose()?;
    let place = command.at.as_deref().map(place).transpose()?;
    let client = command.client.as_deref();
    let client = client.map(|text| parsed("--client", text, "an IP address"));
    let hint = hint_of(&headers);
    let request = Request {
        method: &method,
        path: &path,
        query: uri.query().unwrap_or_default(),
        host: without_port(&host),
        headers: &headers,
        client: client.transpose()?.unwrap_or(CLIENT),
        country,
        place,
        hint: &hint,
        recorded: &[],
    };
    let decision = decide(plan, &facts, &request);
    let explained = show::explain(plan, &facts, &request, &decision);
    let next_hop = next_hop(plan, &facts, decision.region, peers);
    let answer = Answer {
        explained,
        next_hop,
    };
    match command.json {
        true => print_pretty(&answer),
        false => print(&format!(
            "{}\nNEXT HOP\n{}\n",
            answer.explained, answer.next_hop
        )),
    }
}

/// Returns where a request is sent, or why it is sent nowhere.
fn next_hop(plan: &Plan, facts: &Facts, target: Target, peers: &[Peer]) -> String {
    let region = match target {
        Target::Status(_) => return "none: it is refused".to_owned(),
        Target::Region(region) if facts.local() != Some(region) => plan.region_id(region),
        Target::Region(_) | Target::Here => {
            return "none: it is served where it entered".to_owned();
        }
    };
    let there = peers.iter().filter(|peer| peer.region == *region);
    let addresses: Vec<_> = there.map(|peer| peer.address.as_str()).collect();
    match addresses.is_empty() {
        true => format!("none: [fleet] peers lists no address for {region}"),
        false => addresses.join(", "),
    }
}

fn conditions(plan: &Plan, command: &ExplainPolicyCommand) -> Result<Conditions, Exit> {
    let local = command.region.as_deref();
    let local = local
        .map(|name| known(plan, "--region", name))
        .transpose()?;
    let time = match &command.time {
        Some(text) => parsed("--time", text, "an instant such as 2026-12-31T22:00Z")?,
        None => Timestamp::try_from(SystemTime::now()).map_err(Exit::failed)?,
    };
    let mut conditions = Conditions {
        local,
        near: by_distance(plan, local),
        open: Schedule::new(plan.windows()).open(time.as_millisecond()),
        ..Conditions::default()
    };
    let mut standing = RegionStanding::default();
    let mut given = Vec::new();
    for state in &command.region_states {
        let why = "REGION=left, drained, unreachable or ramp:30%";
        let flag = "--region-state";
        let expected = || refused(flag, state, format_args!("expected {why}"));
        let (name, word) = state.split_once('=').ok_or_else(expected)?;
        let region = known(plan, flag, name)?;
        let one = RegionMask::of(region);
        // What has left does not ramp.
        let kind = if word.starts_with("ramp:") {
            "left"
        } else {
            word
        };
        if given.contains(&(region, kind)) {
            let why = format!("another state was given for {name}: remove one of them");
            return Err(refused(flag, state, why));
        }
        given.push((region, kind));
        match word {
            "left" => standing.left = standing.left.or(one),
            "drained" => conditions.draining = conditions.draining.or(one),
            "unreachable" => conditions.unreachable = conditions.unreachable.or(one),
            _ => {
                let position = ramp(word).ok_or_else(expected)?;
                standing.ramps.push((region, position));
            }
        }
    }
    conditions.standings = vec![standing; plan.judgements().len()];
    Ok(conditions)
}

/// Reads `ramp:30%`, of 10,000.
fn ramp(word: &str) -> Option<u16> {
    ramp_position(word.strip_prefix("ramp:")?)
}

fn place(text: &str) -> Result<GeoPoint, Exit> {
    let degrees = text.split_once(',').and_then(|(latitude, longitude)| {
        let [latitude, longitude] = [latitude, longitude].map(|it| it.trim().parse().ok());
        GeoPoint::new(latitude?, longitude?)
    });
    let why = "expected LATITUDE,LONGITUDE in degrees, such as 52.5,13.4";
    degrees.ok_or_else(|| refused("--at", text, why))
}

fn known(plan: &Plan, flag: &str, name: &str) -> Result<RegionIndex, Exit> {
    let missing = || refused(flag, name, "the policy declares no such region");
    plan.region_index(name).ok_or_else(missing)
}

fn known_country(code: &str) -> Result<Country, Exit> {
    let country = parsed("--country", code, "two letters")?;
    let missing = || refused("--country", code, "there is no country with this code");
    is_assigned(country).then_some(country).ok_or_else(missing)
}

fn headers(lines: &[String]) -> Result<HeaderMap, Exit> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let parts = line.split_once(':').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) = parts.ok_or_else(|| refused("-H", line, "expected Name: value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Returns the host of the request, or nothing; what a gateway refuses is refused, and not shown: it may be a password.
fn known_host(uri: &Uri, headers: &HeaderMap) -> Result<String, Exit> {
    let mut request = http::Request::new(());
    // In this version a request needs no host.
    *request.version_mut() = Version::HTTP_10;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    let refused =
        |why: HostError| Exit::unusable(format_args!("{why}: a gateway answers with 400"));
    let host = host(&request).map_err(refused)?;
    Ok(host.unwrap_or_default().to_owned())
}

fn parsed<T: std::str::FromStr>(name: &str, text: &str, expected: &str) -> Result<T, Exit> {
    let why = |_unparsable| refused(name, text, format_args!("expected {expected}"));
    text.parse().map_err(why)
}

fn refused(name: &str, text: &str, why: impl Display) -> Exit {
    let text = printable(text);
    Exit::unusable(format_args!("{name} = \"{text}\": {why}"))
}
