//! Finds the policies that a request may match without trying each of them.
//!
//! Each of the methods, countries, paths and headers has the set of policies that can match it; the
//! first policy that is in all these sets and whose condition holds governs the request. The sets
//! may have too many policies but never too few, so the condition decides.

mod headers;
mod mask;
mod paths;

use http::{HeaderMap, Method};

use crate::plan::{Condition, Country, CountrySet, Policy};
use headers::Headers;
pub(crate) use mask::PolicyMask;
use mask::possible;
use paths::Paths;

/// The methods with their own set; others are evaluated by the conditions.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::PATCH,
    Method::OPTIONS,
    Method::CONNECT,
    Method::TRACE,
];

/// With this few left, trying them is cheaper than reading all headers.
const FEW: usize = 2;

const COUNTRIES: usize = 26 * 26;

/// The sets of policies by parts of requests.
#[derive(Debug)]
pub(crate) struct Index {
    methods: [PolicyMask; METHODS.len() + 1],
    /// The index of each country in `country_sets`; the last is for the unknown one.
    countries: Box<[u16; COUNTRIES + 1]>,
    country_sets: Vec<PolicyMask>,
    paths: Paths,
    headers: Headers,
}

impl Index {
    pub(crate) fn new(policies: &[Policy]) -> Self {
        let (countries, country_sets) = countries(policies);
        Self {
            methods: std::array::from_fn(|at| by_method(policies, METHODS.get(at))),
            countries,
            country_sets,
            paths: Paths::new(policies),
            headers: Headers::new(policies),
        }
    }

    /// Returns the policies that may match, in their order.
    pub(crate) fn candidates(
        &self,
        method: &Method,
        country: Option<Country>,
        path: &str,
        headers: &HeaderMap,
    ) -> impl Iterator<Item = usize> {
        let method = METHODS.iter().position(|known| known == method);
        let country = self.countries[country.map_or(COUNTRIES, Country::get)];
        let mut policies = self.methods[method.unwrap_or(METHODS.len())]
            .and(&self.country_sets[usize::from(country)])
            .and(self.paths.lookup(path));
        if !self.headers.is_empty() && policies.iter().nth(FEW).is_some() {
            policies = policies.and(&self.headers.lookup(headers));
        }
        policies.iter()
    }
}

fn by_method(policies: &[Policy], method: Option<&Method>) -> PolicyMask {
    possible(policies, |leaf| match leaf {
        Condition::Method(methods) => method.map(|method| methods.contains(method)),
        _ => None,
    })
}

fn countries(policies: &[Policy]) -> (Box<[u16; COUNTRIES + 1]>, Vec<PolicyMask>) {
    let by_country = |country: Option<Country>| {
        possible(policies, |leaf| match leaf {
            Condition::Country(set) => Some(country.is_some_and(|country| set.has(country))),
            _ => None,
        })
    };
    let mut named = CountrySet::EMPTY;
    for policy in policies {
        policy.matches.leaves(&mut |leaf| {
            if let Condition::Country(set) = leaf {
                named = named.or(set);
            }
        });
    }
    // A country that no condition names is treated as unknown.
    let mut sets = vec![by_country(None)];
    let mut numbers = Box::new([0; COUNTRIES + 1]);
    for country in named.iter() {
        let set = by_country(Some(country));
        let known = sets.iter().position(|known| *known == set);
        numbers[country.get()] = known.unwrap_or(sets.len()) as u16;
        if known.is_none() {
            sets.push(set);
        }
    }
    (numbers, sets)
}
