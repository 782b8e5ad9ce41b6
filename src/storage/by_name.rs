//! JSON objects whose fields are given by their names, and not as a list.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that is read from an object only. What serde derives for a struct also takes a list of its fields in
/// their order, in which a value that was meant for one field becomes that of another.
#[derive(Debug, Clone)]
pub struct ByName<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields::<T>(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        one: u8,
        two: Option<u8>,
    }

    fn read(json: &str) -> Result<Shape, String> {
        let read = serde_json::from_str::<ByName<Shape>>(json);
        read.map(|ByName(shape)| shape)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_read_by_their_names_only() {
        let shape = read(r#"{"one": 1}"#).unwrap();
        assert_eq!((shape.one, shape.two), (1, None));
        for (wrong, said) in [
            ("[1, 2]", "expected an object"),
            ("[]", "expected an object"),
            ("1", "expected an object"),
            ("null", "expected an object"),
            (r#"{"one": 1, "one": 1}"#, "duplicate field `one`"),
            (r#"{"one": 1, "three": 1}"#, "unknown field `three`"),
            (r#"{"two": 1}"#, "missing field `one`"),
        ] {
            let refused = read(wrong).unwrap_err();
            assert!(refused.contains(said), "{wrong}: {refused}");
        }
    }
}
