//! The query string, percent-decoded once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Most parameters of one query string; more are refused.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a query string, in order.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A query string that cannot be parsed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QueryError {
    /// Bytes that are not UTF-8 after decoding.
    #[error("the query string is not UTF-8")]
    NotUtf8,
    /// A repeated name, whose value would be ambiguous.
    #[error("a query parameter is given more than once")]
    Repeated,
    /// More than 64 parameters.
    #[error("the query string has more than {PARAMETERS_MAX} parameters")]
    TooMany,
}

impl<'a> Query<'a> {
    /// Parses `a=1&b=2`; `+` is a space, a name without `=` has the empty value.
    ///
    /// # Errors
    /// If a part is not UTF-8, a name is repeated, or there are too many.
    pub fn parse(text: &'a str) -> Result<Self, QueryError> {
        let mut parameters = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if parameters.get(&name).is_some() {
                return Err(QueryError::Repeated);
            }
            if parameters.0.len() == PARAMETERS_MAX {
                return Err(QueryError::TooMany);
            }
            parameters.0.push((name, value));
        }
        Ok(parameters)
    }

    /// The number of parameters.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "not needed")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a parameter; `None` if it is absent, empty if it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
    }
}

fn decode(part: &str) -> Result<Cow<'_, str>, QueryError> {
    if !part.contains(['%', '+']) {
        return Ok(Cow::Borrowed(part));
    }
    let spaced = part.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(Cow::Owned(text.into_owned())),
        Err(_not_utf8) => Err(QueryError::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_once() {
        let query = Query::parse("a=1%2B1&b+c=%2541&&d").unwrap();
        assert_eq!(query.get("a"), Some("1+1"));
        assert_eq!(query.get("b c"), Some("%41"));
        assert_eq!(query.get("d"), Some(""));
        assert_eq!(query.get("e"), None);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert_eq!(Query::parse("a=%ff").unwrap_err(), QueryError::NotUtf8);
        assert_eq!(Query::parse("a=1&%61=2").unwrap_err(), QueryError::Repeated);
        let many = (0..65)
            .map(|n| format!("p{n}=x"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(Query::parse(&many).unwrap_err(), QueryError::TooMany);
    }
}
