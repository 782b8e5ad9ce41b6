//! The values that the conditions of a file mention, from which the classes are made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Method;
use ipnet::IpNet;
use tidegate_model::PathPattern;

use super::dimension::{Dimension, FieldKind};
use crate::plan::{Condition, Country, CountrySet};

/// A byte that no pattern contains, because no path can.
const OTHER: char = '\u{1}';

/// The address after the mapped ones, `::ffff:0:0/96`.
const AFTER_MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 1, 0, 0, 0);

/// The values that the conditions of a file mention.
#[derive(Default)]
pub(super) struct Collected<'a> {
    methods: Vec<&'a Method>,
    patterns: Vec<&'a PathPattern>,
    countries: Vec<&'a CountrySet>,
    networks: Vec<IpNet>,
    hosts: Vec<&'a str>,
    pub(super) fields: Vec<Dimension>,
}

impl<'a> Collected<'a> {
    pub(super) fn add(&mut self, leaf: &'a Condition) {
        let mut field = |kind, name: &str, value: &Option<Box<str>>| {
            self.fields.push(Dimension::Field(kind, name.into(), None));
            self.fields
                .push(Dimension::Field(kind, name.into(), value.clone()));
        };
        match leaf {
            Condition::Method(methods) => self.methods.extend(methods),
            Condition::Path(patterns) => self.patterns.extend(patterns),
            Condition::Country(set) => self.countries.push(set),
            Condition::Client(networks) => self.networks.extend(networks),
            Condition::Host(host) => self.hosts.push(host),
            Condition::Header(name, value) => field(FieldKind::Header, name.as_str(), value),
            Condition::Cookie(name, value) => field(FieldKind::Cookie, name, value),
            Condition::Query(name, value) => field(FieldKind::Query, name, value),
            Condition::Not(_) | Condition::All(_) | Condition::Any(_) => {}
        }
    }

    /// The methods that are named, and one that is not.
    pub(super) fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<_> = self
            .methods
            .iter()
            .map(|method| (*method).clone())
            .collect();
        methods.extend(Method::from_bytes(b"-OTHER-"));
        methods.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
        methods.dedup();
        methods
    }

    /// One path of each kind that patterns distinguish: a literal, the literal with a slash, below
    /// it, and beside it.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = vec!["/".to_owned(), format!("/{OTHER}")];
        for pattern in &self.patterns {
            let literal = pattern.literal();
            let ends = [
                "".to_owned(),
                "/".to_owned(),
                format!("/{OTHER}"),
                OTHER.to_string(),
            ];
            paths.extend(ends.map(|end| format!("{literal}{end}")));
        }
        paths.retain(|path| path.starts_with('/') && !path.contains("//"));
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// One country of each kind that sets distinguish, and the unknown one.
    pub(super) fn countries(&self) -> Vec<Option<Country>> {
        let mut kinds = BTreeMap::new();
        let all: BTreeSet<_> = self.countries.iter().flat_map(|set| set.iter()).collect();
        for country in all {
            let kind: Vec<_> = self.countries.iter().map(|set| set.has(country)).collect();
            kinds.entry(kind).or_insert(country);
        }
        let mut countries: Vec<_> = kinds.into_values().map(Some).collect();
        countries.sort_unstable();
        countries.insert(0, None);
        countries
    }

    /// An address before, in and after each network. No client has a mapped one: the next one stands for it.
    pub(super) fn clients(&self) -> Vec<IpAddr> {
        let mut clients = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for network in &self.networks {
            clients.push(network.network());
            clients.extend(after(network.broadcast()));
        }
        for client in &mut clients {
            if client.is_ipv6() && client.to_canonical().is_ipv4() {
                *client = AFTER_MAPPED.into();
            }
        }
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// The hosts that are named, and one that is not.
    pub(super) fn hosts(&self) -> Vec<Box<str>> {
        let mut hosts: Vec<Box<str>> = self.hosts.iter().map(|host| (*host).into()).collect();
        hosts.push("".into());
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

/// Returns the address after one.
fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into(),
    })
}
