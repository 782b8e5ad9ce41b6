//! The grammar of `X-Consistency`, which the configuration also uses for its floors.
//!
//! An RFC 9651 item: the level as a token, and `max-staleness` in seconds with `bounded`. Letter
//! case never matters. Errors do not repeat the input, which may be anything.

use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Deserializer, de};
use sfv::{BareItem, Item, Parameters, Parser};

use crate::{Consistency, Level};

/// Carries the consistency that a client requests.
pub static X_CONSISTENCY: HeaderName = HeaderName::from_static("x-consistency");

/// Carries a consistency token, in requests and in responses.
pub static X_CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("x-consistency-token");

/// Longest field that is parsed; the longest useful one has about half as many bytes.
const FIELD_LENGTH_MAX: usize = 80;

/// Greatest bound; a client that accepts data older than a day accepts `eventual`.
const MAX_STALENESS_MAX: Duration = Duration::from_hours(24);

const MAX_STALENESS: &str = "max-staleness";

impl Consistency {
    /// Parses one `X-Consistency` field.
    ///
    /// # Errors
    ///
    /// Says which part of the grammar the field breaks.
    pub fn parse_field(field: &[u8]) -> Result<Self, ConsistencyError> {
        if field.len() > FIELD_LENGTH_MAX {
            return Err(ConsistencyError::TooLong);
        }
        let field = field.trim_ascii();
        if field.is_empty() {
            return Err(ConsistencyError::Empty);
        }
        // RFC 9651 keys are lower-case and tokens are not folded: folding everything handles both.
        let item: Item = Parser::new(&field.to_ascii_lowercase())
            .parse()
            .map_err(|error| ConsistencyError::NotAnItem {
                position: error.index(),
            })?;
        Self::from_item(&item)
    }

    /// Parses every `X-Consistency` field of a request; returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says which part of the grammar a field breaks, or that two fields disagree.
    pub fn parse_fields<F: AsRef<[u8]>>(
        fields: impl IntoIterator<Item = F>,
    ) -> Result<Option<Self>, ConsistencyError> {
        let mut agreed = None;
        for field in fields {
            let stated = Self::parse_field(field.as_ref())?;
            if *agreed.get_or_insert(stated) != stated {
                return Err(ConsistencyError::Disagreement);
            }
        }
        Ok(agreed)
    }

    fn from_item(item: &Item) -> Result<Self, ConsistencyError> {
        match level(&item.bare_item)? {
            Level::Bounded => max_staleness(&item.params).map(Self::bounded),
            Level::Eventual => without_parameters(&item.params, Self::EVENTUAL),
            Level::Session => without_parameters(&item.params, Self::SESSION),
            Level::Strong => without_parameters(&item.params, Self::STRONG),
        }
    }
}

impl FromStr for Consistency {
    type Err = ConsistencyError;

    fn from_str(field: &str) -> Result<Self, ConsistencyError> {
        Self::parse_field(field.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Consistency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let field = String::deserialize(deserializer)?;
        field.parse().map_err(de::Error::custom)
    }
}

/// Says what is wrong with an `X-Consistency` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// It is longer than any valid field.
    #[error("the field is longer than {FIELD_LENGTH_MAX} bytes")]
    TooLong,
    /// It is blank.
    #[error("the field is empty; a level is strong, session, bounded or eventual")]
    Empty,
    /// It is not an RFC 9651 item, for example a list.
    #[error("the field is not one RFC 9651 item{}, such as strong or bounded;max-staleness=2", at(.position))]
    NotAnItem {
        /// The byte where reading stopped, counted from 0.
        position: Option<usize>,
    },
    /// The item is a string, a number or an unknown word.
    #[error("the level is not one of strong, session, bounded and eventual")]
    UnknownLevel,
    /// Only `max-staleness` exists, and only with `bounded`.
    #[error("only bounded takes a parameter, and only max-staleness")]
    UnknownParameter,
    /// `bounded` came without its bound.
    #[error("bounded needs max-staleness, as in bounded;max-staleness=2")]
    BoundMissing,
    /// The bound is not an integer or decimal, is negative or is too large.
    #[error("max-staleness is a number of seconds from 0 to {}", MAX_STALENESS_MAX.as_secs())]
    BoundInvalid,
    /// Repeated fields request different things.
    #[error("repeated fields disagree")]
    Disagreement,
}

fn at(position: &Option<usize>) -> String {
    position
        .map(|index| format!(" (byte {index})"))
        .unwrap_or_default()
}

fn level(item: &BareItem) -> Result<Level, ConsistencyError> {
    let name = item
        .as_token()
        .ok_or(ConsistencyError::UnknownLevel)?
        .as_str();
    Level::ALL
        .into_iter()
        .find(|level| level.as_str() == name)
        .ok_or(ConsistencyError::UnknownLevel)
}

fn without_parameters(
    parameters: &Parameters,
    consistency: Consistency,
) -> Result<Consistency, ConsistencyError> {
    if parameters.is_empty() {
        Ok(consistency)
    } else {
        Err(ConsistencyError::UnknownParameter)
    }
}

fn max_staleness(parameters: &Parameters) -> Result<Duration, ConsistencyError> {
    if parameters.keys().any(|key| key.as_str() != MAX_STALENESS) {
        return Err(ConsistencyError::UnknownParameter);
    }
    let value = parameters
        .get(MAX_STALENESS)
        .ok_or(ConsistencyError::BoundMissing)?;
    let bound = milliseconds(value)
        .and_then(|millis| u64::try_from(millis).ok())
        .map(Duration::from_millis)
        .ok_or(ConsistencyError::BoundInvalid)?;
    if bound > MAX_STALENESS_MAX {
        Err(ConsistencyError::BoundInvalid)
    } else {
        Ok(bound)
    }
}

/// Reads seconds exactly: RFC 9651 decimals have at most three fractional digits.
fn milliseconds(seconds: &BareItem) -> Option<i64> {
    match (seconds.as_integer(), seconds.as_decimal()) {
        (Some(whole), _) => i64::from(whole).checked_mul(1_000),
        (_, Some(decimal)) => Some(decimal.as_integer_scaled_1000().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(field: &str) -> Result<Consistency, ConsistencyError> {
        field.parse()
    }

    fn bounded(millis: u64) -> Consistency {
        Consistency::bounded(Duration::from_millis(millis))
    }

    #[test]
    fn every_level_is_read_in_any_letter_case() {
        for strong in ["strong", "Strong", "STRONG", "  strong "] {
            assert_eq!(parse(strong), Ok(Consistency::STRONG), "{strong:?}");
        }
        assert_eq!(parse("session"), Ok(Consistency::SESSION));
        assert_eq!(parse("eventual"), Ok(Consistency::EVENTUAL));
        assert_eq!(parse("BOUNDED;Max-Staleness=2"), Ok(bounded(2_000)));
    }

    #[test]
    fn a_bound_is_seconds_with_up_to_three_decimals() {
        let cases = [
            ("0", 0),
            ("2", 2_000),
            ("0.5", 500),
            ("1.25", 1_250),
            ("0.001", 1),
        ];
        for (seconds, millis) in cases {
            let field = format!("bounded; max-staleness={seconds}");
            assert_eq!(parse(&field), Ok(bounded(millis)), "{field}");
        }
        assert_eq!(
            parse("bounded;max-staleness=86400"),
            Ok(bounded(86_400_000))
        );
    }

    #[test]
    fn a_bound_that_is_no_sensible_number_is_refused() {
        for value in [
            "-1",
            "-0.001",
            "86401",
            "86400.001",
            "999999999999999",
            "\"2\"",
            "soon",
            "?1",
        ] {
            let field = format!("bounded;max-staleness={value}");
            assert_eq!(
                parse(&field),
                Err(ConsistencyError::BoundInvalid),
                "{field}"
            );
        }
        assert_eq!(
            parse("bounded;max-staleness"),
            Err(ConsistencyError::BoundInvalid)
        );
    }

    #[test]
    fn bounded_needs_its_bound_and_the_others_take_none() {
        assert_eq!(parse("bounded"), Err(ConsistencyError::BoundMissing));
        for field in [
            "strong;max-staleness=2",
            "eventual;x",
            "session;max-staleness=1",
            "bounded;max-age=2",
            "bounded;max-staleness=2;x=1",
        ] {
            assert_eq!(
                parse(field),
                Err(ConsistencyError::UnknownParameter),
                "{field}"
            );
        }
    }

    #[test]
    fn anything_but_a_level_is_refused() {
        for field in ["linearizable", "\"strong\"", "1", "?1", "strong!", "*"] {
            assert_eq!(parse(field), Err(ConsistencyError::UnknownLevel), "{field}");
        }
        assert_eq!(parse(""), Err(ConsistencyError::Empty));
        assert_eq!(parse("  "), Err(ConsistencyError::Empty));
        assert_eq!(
            parse(&"s".repeat(FIELD_LENGTH_MAX + 1)),
            Err(ConsistencyError::TooLong)
        );
    }

    #[test]
    fn anything_but_one_item_is_refused() {
        for field in [
            "strong, strong",
            "strong eventual",
            "(strong)",
            "strong;",
            "bounded;max-staleness=",
            "bounded;max-staleness=2.",
            "bounded;max-staleness=0.0001",
            "str\u{f6}ng",
            "=",
        ] {
            let refused = parse(field);
            assert!(
                matches!(refused, Err(ConsistencyError::NotAnItem { .. })),
                "{field}"
            );
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_without_repeating_it() {
        let error = parse("strong, <script>").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the field is not one RFC 9651 item (byte 6), such as strong or bounded;max-staleness=2"
        );
    }

    #[test]
    fn repeated_fields_must_mean_the_same() {
        let all = |fields: &[&str]| Consistency::parse_fields(fields);
        assert_eq!(all(&[]), Ok(None));
        assert_eq!(all(&["strong", "STRONG"]), Ok(Some(Consistency::STRONG)));
        assert_eq!(
            all(&["bounded;max-staleness=2", "bounded;max-staleness=2.0"]),
            Ok(Some(bounded(2_000)))
        );
        assert_eq!(
            all(&["strong", "eventual"]),
            Err(ConsistencyError::Disagreement)
        );
        assert_eq!(all(&["strong", ""]), Err(ConsistencyError::Empty));
    }

    #[test]
    fn configuration_uses_the_same_grammar() {
        let floor: Consistency = serde_json::from_str("\"bounded;max-staleness=2\"").unwrap();
        assert_eq!(floor, bounded(2_000));
        let error = serde_json::from_str::<Consistency>("\"bounded\"").unwrap_err();
        assert!(error.to_string().contains("needs max-staleness"), "{error}");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_cancel_out(millis in 0..=86_400_000_u64) {
            let consistency = bounded(millis);
            prop_assert_eq!(parse(&consistency.to_string()), Ok(consistency));
        }

        #[test]
        fn no_input_panics(field in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Consistency::parse_field(&field);
        }

        #[test]
        fn no_field_near_the_grammar_panics(field in "(?i)(bounded|strong|session)?;? ?(max-staleness)?=?-?[0-9]{0,17}(\\.[0-9]{0,4})?") {
            if let Ok(consistency) = parse(&field) {
                prop_assert_eq!(parse(&consistency.to_string()), Ok(consistency));
            }
        }
    }
}
