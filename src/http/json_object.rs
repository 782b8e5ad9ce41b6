//! A JSON object whose values become statement parameters.
//!
//! Duplicate keys are refused at every depth: parsers differ in which of two values they use, and
//! an attacker could exploit that difference.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, in order.
#[derive(Debug)]
pub struct JsonObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A body that is not a JSON object the gateway can bind.
#[derive(Debug, thiserror::Error)]
#[error("the body is not acceptable JSON: {0}")]
pub struct BodyError(String);

impl<'a> JsonObject<'a> {
    /// Parses a whole body. Nesting uses no stack, and memory only in proportion to the body:
    /// PostgreSQL decides how deep is too deep.
    ///
    /// # Errors
    /// If it is not JSON, not an object, or any object in it repeats a key.
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        let refuse = |error: &dyn fmt::Display| BodyError(error.to_string());
        let body = std::str::from_utf8(body).map_err(|error| refuse(&error))?;
        let object = serde_json::from_str(body).map_err(|error| refuse(&error))?;
        check_strings(body)?;
        Ok(object)
    }

    /// The text to bind for a member; absent and `null` are both `None`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        json_text(self.get(name)?)
    }

    /// Whether a member is present, not null, and not a string.
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

/// The text that a JSON value binds: a string's content, a number's or boolean's literal, the JSON
/// of an array or object. `None` for `null`, and for a string that is not valid text (half of a
/// surrogate pair).
#[must_use]
pub fn json_text(json: &RawValue) -> Option<Cow<'_, str>> {
    let json = json.get();
    match json.as_bytes().first()? {
        b'n' => None,
        b'"' => decoded(json).ok(),
        _ => Some(Cow::Borrowed(json)),
    }
}

/// A string, borrowed if it contains no escapes.
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

/// Checks in valid JSON that strings are text and that no object repeats a key. Numbers are not
/// parsed: PostgreSQL supports larger ones than a double, and `serde_json`'s `arbitrary_precision`
/// would treat an object with a certain key as a number.
fn check_strings(json: &str) -> Result<(), BodyError> {
    let mut keys = HashSet::new();
    // The number of each object that is open; `None` for an array.
    let mut open = Vec::new();
    let mut objects = 0_usize;
    let mut key_follows = false;
    let mut at = 0;
    while let Some(found) = json[at..].find(['"', '{', '}', '[', ']', ',']) {
        let start = at + found;
        at = start + 1;
        match json.as_bytes()[start] {
            b'"' => {
                at += string_length(&json[at..]);
                let text =
                    decoded(&json[start..at]).map_err(|error| BodyError(error.to_string()))?;
                let object = open.last().copied().flatten();
                if key_follows && !keys.insert((object, text)) {
                    return Err(BodyError("a key is repeated".to_owned()));
                }
                key_follows = false;
            }
            b'{' => {
                objects += 1;
                open.push(Some(objects));
                key_follows = true;
            }
            b'[' => {
                open.push(None);
                key_follows = false;
            }
            b',' => key_follows = matches!(open.last(), Some(Some(_))),
            _ => {
                open.pop();
                key_follows = false;
            }
        }
    }
    Ok(())
}

/// Length of a string after its opening quote, including the closing one.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |at| at + 1)
}

/// The content of a JSON string.
fn decoded(json: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match json.contains('\\') {
        true => serde_json::from_str(json).map(|Text(text)| text),
        false => Ok(Cow::Borrowed(&json[1..json.len() - 1])),
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
    fn numbers_of_any_size_keep_their_text_at_every_depth() {
        let long = "9".repeat(400);
        for number in ["1e309", "-1e-999999999999", "-0", "-0.0", "1E+5", &long] {
            let nested = format!("[[{{\"x\": {number}}}]]");
            let body = format!("{{\"n\": {number}, \"o\": {nested}}}");
            let body = JsonObject::parse(body.as_bytes()).unwrap();
            assert_eq!(body.text("n").as_deref(), Some(number));
            assert_eq!(body.text("o").as_deref(), Some(&*nested));
        }
        for number in ["01", "+1", "1.", ".5", "1e", "-", "NaN", "Infinity", "0x1"] {
            for body in [
                format!("{{\"n\": {number}}}"),
                format!("{{\"o\": [{number}]}}"),
            ] {
                assert!(JsonObject::parse(body.as_bytes()).is_err(), "{body}");
            }
        }
    }

    #[test]
    fn no_depth_overflows_the_stack_and_none_hides_a_repeated_key() {
        let depth = 30_000;
        let within = |inner: &str| {
            let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
            format!("{{\"o\":{open}{inner}{close}}}")
        };
        let deep = within("1");
        let body = JsonObject::parse(deep.as_bytes()).unwrap();
        assert_eq!(body.text("o").map(|text| text.len()), Some(deep.len() - 6));
        assert!(JsonObject::parse(within("{\"b\":1,\"b\":1}").as_bytes()).is_err());
    }

    #[test]
    fn repeated_keys_are_refused_at_every_depth_and_spelling() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"o":[{"b":1,"b":1}]}"#,
            r#"{"o":{"b":["c",{}],"c":[],"b":1}}"#,
            r#"{"a\"":1,"b":{"a\"":{}},"a\u0022":2}"#,
        ] {
            assert!(JsonObject::parse(body.as_bytes()).is_err(), "{body}");
        }
        for body in [
            r#"{"a":{"b":1},"c":{"b":1}}"#,
            r#"{"a":["a","a",{"a":"a"},{"a":"a"}],"b":{},"c":"b, \"b\": {"}"#,
            r#"{"a":"\\","b":"\\\"","c":[[],{},""]}"#,
        ] {
            assert!(JsonObject::parse(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let deep = "[".repeat(5_000);
        let nested = format!("{{\"a\":{deep}");
        for body in [
            "",
            "[]",
            "1",
            "\"a\"",
            "{",
            "{}{}",
            "{\"a\":}",
            &deep,
            &nested,
            "{\"a\":\"\\ud800\"}",
            "{\"a\":[\"\\ud800\"]}",
            "{\"\\ud800\":1}",
            "{\"a\":[1}}",
        ] {
            assert!(JsonObject::parse(body.as_bytes()).is_err());
        }
        assert!(JsonObject::parse(b"\xff").is_err());
    }
}
