//! `admin`: an address, or a table with the address and more.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// `admin = "…"` or `[admin]`.
#[derive(Debug, Default)]
pub(super) struct AdminSection(Option<Spanned<Content>>);

#[derive(Debug)]
enum Content {
    Address(String),
    Table(Table),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    listen: Option<Spanned<String>>,
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
}

impl AdminSection {
    /// The key and the value of the listener's address.
    pub(super) fn listen(&self) -> (&'static str, Option<Spanned<String>>) {
        let Some(section) = &self.0 else {
            return ("admin", None);
        };
        match section.get_ref() {
            Content::Address(address) => {
                let address = Spanned::new(section.span(), address.clone());
                ("admin", Some(address))
            }
            Content::Table(table) => ("admin.listen", table.listen.clone()),
        }
    }

    /// The names that the listener answers for.
    pub(super) fn hosts(&self) -> &[Spanned<String>] {
        match self.0.as_ref().map(Spanned::get_ref) {
            Some(Content::Table(table)) => &table.hosts,
            Some(Content::Address(_)) | None => &[],
        }
    }
}

impl<'de> Deserialize<'de> for AdminSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(|content| Self(Some(content)))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AddressOrTable)
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
