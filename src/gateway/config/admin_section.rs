//! `admin`: an address, or a section with the address and other keys.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// `admin = "…"` or `[admin]`.
#[derive(Debug)]
pub(super) struct AdminSection {
    /// The whole key of the address.
    pub(super) key: &'static str,
    /// The address of the listener.
    pub(super) listen: Option<Spanned<String>>,
    /// The names that the listener answers for.
    pub(super) hosts: Vec<Spanned<String>>,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self {
            key: "admin",
            listen: None,
            hosts: Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for AdminSection {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let content = Spanned::<Content>::deserialize(from)?;
        let span = content.span();
        Ok(match content.into_inner() {
            Content::Address(address) => Self {
                listen: Some(Spanned::new(span, address)),
                ..Self::default()
            },
            Content::Table(Table { listen, hosts }) => Self {
                key: "admin.listen",
                listen,
                hosts,
            },
        })
    }
}

enum Content {
    Address(String),
    Table(Table),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    listen: Option<Spanned<String>>,
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AddressOrTable)
    }
}

struct AddressOrTable;

impl<'de> Visitor<'de> for AddressOrTable {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table")
    }

    fn visit_str<E: Error>(self, address: &str) -> Result<Content, E> {
        Ok(Content::Address(address.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Content, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map)).map(Content::Table)
    }
}
