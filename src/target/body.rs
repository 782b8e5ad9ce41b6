//! A JSON object whose values become statement parameters.
//!
//! Duplicate keys are refused at every depth: which of two values counts differs between parsers,
//! and an attacker chooses where that difference is looked at.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, in their order.
#[derive(Debug)]
pub struct JsonObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A body that is not a JSON object the gateway can bind.
#[derive(Debug, thiserror::Error)]
#[error("the body is not acceptable JSON: {0}")]
pub struct BodyError(String);

impl<'a> JsonObject<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// When it is not JSON, not an object, or any object in it repeats a key.
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        serde_json::from_slice::<Distinct>(body).map_err(|error| BodyError(error.to_string()))?;
        serde_json::from_slice(body).map_err(|error| BodyError(error.to_string()))
    }

    /// The text to bind for a member: a string's content, a number's or boolean's literal, the JSON
    /// of an array or object. Absent and `null` are both `None`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let json = self.get(name)?.get();
        match json.as_bytes().first()? {
            b'n' => None,
            b'"' => serde_json::from_str(json).ok().map(|Text(text)| text),
            _ => Some(Cow::Borrowed(json)),
        }
    }

    /// Whether a member is present, not null, and something else than a string.
    #[must_use]
    pub fn is_other_than_string(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|json| !json.get().starts_with(['"', 'n']))
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, json)| *json)
    }
}

/// A string that borrows where it holds no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), json)) = map.next_entry()? {
                    members.push((name, json));
                }
                Ok(JsonObject(members))
            }
        }
        from.deserialize_map(Members)
    }
}

/// Any JSON in which no object repeats a key; the values themselves are dropped.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = HashSet::new();
        while let Some(Text(key)) = map.next_key()? {
            if !seen.insert(key) {
                return Err(A::Error::custom("a key is repeated"));
            }
            map.next_value_seed(Self)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_keep_their_text() {
        let body = br#"{"n": 1.50e0, "s": "a\u00e9\"", "t": true, "z": null, "o": {"x": [1]}}"#;
        let body = JsonObject::parse(body).unwrap();
        assert_eq!(body.text("n").as_deref(), Some("1.50e0"));
        assert_eq!(body.text("s").as_deref(), Some("aé\""));
        assert_eq!(body.text("t").as_deref(), Some("true"));
        assert_eq!(body.text("o").as_deref(), Some(r#"{"x": [1]}"#));
        assert_eq!(body.text("z"), None);
        assert_eq!(body.text("absent"), None);
        assert!(body.is_other_than_string("n"));
        assert!(!body.is_other_than_string("s") && !body.is_other_than_string("z"));
    }

    #[test]
    fn repeated_keys_are_refused_at_every_depth_and_spelling() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"o":[{"b":1,"b":1}]}"#,
        ] {
            assert!(JsonObject::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(JsonObject::parse(br#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let deep = "[".repeat(5_000);
        let nested = format!("{{\"a\":{deep}");
        for body in [
            "", "[]", "1", "\"a\"", "{", "{}{}", "{\"a\":}", &deep, &nested,
        ] {
            assert!(JsonObject::parse(body.as_bytes()).is_err());
        }
        assert!(JsonObject::parse(b"\xff").is_err());
    }
}
