//! Reading cookies, queries and keys of a request without allocating.

use std::net::IpAddr;

use http::header::COOKIE;
use percent_encoding::percent_decode;

use crate::decide::Request;
use crate::hash::Key;
use crate::plan::AffinityKey;

impl<'a> Request<'a> {
    /// Returns the values of a cookie, in the order sent.
    pub(crate) fn cookies(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.headers.get_all(COOKIE).into_iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        pairs.filter_map(move |pair| {
            let (key, value) = split_once(pair.trim_ascii(), b'=')?;
            (key == name.as_bytes()).then_some(value)
        })
    }

    /// Returns whether the query has a parameter, with a value if one is given.
    pub(crate) fn has_query(&self, name: &str, value: Option<&str>) -> bool {
        let mut pairs = self.query.as_bytes().split(|byte| *byte == b'&');
        pairs.any(|pair| {
            let (key, found) = split_once(pair, b'=').unwrap_or((pair, b""));
            !pair.is_empty()
                && is_decoded(key, name)
                && value.is_none_or(|value| is_decoded(found, value))
        })
    }

    /// Returns the hash of the first key that the request has, else of the client's address.
    pub fn key(&self, affinity: &[AffinityKey]) -> Key {
        let mut found = affinity.iter().filter_map(|key| self.key_of(key));
        found.next().unwrap_or_else(|| {
            let address = self.key_of(&AffinityKey::ADDRESS);
            address.unwrap_or(Key(0))
        })
    }

    /// Returns the hash of one key, if the request has it and it is not empty.
    pub fn key_of(&self, key: &AffinityKey) -> Option<Key> {
        let mut recorded = self.recorded.iter();
        if let Some((_, recorded)) = recorded.find(|(known, _)| known == key) {
            return Some(*recorded);
        }
        let value = |value: &[u8]| (!value.is_empty()).then(|| Key::of(value));
        match key {
            AffinityKey::Cookie(name) => self.cookies(name).find_map(value),
            AffinityKey::Header(name) => value(self.headers.get(name)?.as_bytes()),
            AffinityKey::Path(segments) => value(first_segments(self.path, *segments).as_bytes()),
            AffinityKey::Client { v4, v6 } => Some(network(self.client, *v4, *v6)),
        }
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

/// Returns whether a part of a query equals the text after it is decoded like a form.
fn is_decoded(raw: &[u8], text: &str) -> bool {
    let spaced = raw.split(|byte| *byte == b'+');
    let mut rest = text.as_bytes();
    for (at, part) in spaced.enumerate() {
        let space = (at > 0).then_some(b' ');
        for byte in space.into_iter().chain(percent_decode(part)) {
            match rest.split_first() {
                Some((first, others)) if *first == byte => rest = others,
                _ => return false,
            }
        }
    }
    rest.is_empty()
}

fn first_segments(path: &str, segments: u32) -> &str {
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    let end = slashes.nth(segments as usize);
    end.map_or(path, |(end, _)| &path[..end])
}

fn network(client: IpAddr, v4: u8, v6: u8) -> Key {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(v4.min(32)))
                .unwrap_or(0);
            Key::of(&(address.to_bits() & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(v6.min(128)))
                .unwrap_or(0);
            Key::of(&(address.to_bits() & mask).to_be_bytes())
        }
    }
}
