//! Removes fields by lists of names, most of which no message has.

use http::{HeaderMap, HeaderName};

/// Tells of most names that a message has no such field, without a look-up for each: by the lengths and
/// the ends of the names that it has.
#[derive(Clone, Copy)]
pub(super) struct FieldNames(u64);

impl FieldNames {
    /// Notes the names of a message. What is removed later stays noted, what is added is not.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |noted, name| noted | bit(name)))
    }

    /// Removes fields of the message in the order of the list, which decides in which order the others
    /// are sent.
    pub(super) fn remove<'n>(
        self,
        headers: &mut HeaderMap,
        list: impl IntoIterator<Item = &'n HeaderName>,
    ) {
        for name in list {
            if self.0 & bit(name) != 0 {
                headers.remove(name);
            }
        }
    }
}

/// One of 64 bits for a name.
fn bit(name: &HeaderName) -> u64 {
    let name = name.as_str().as_bytes();
    let byte = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    let mixed = name.len() + 5 * byte(name.first()) + 11 * byte(name.last());
    1 << (mixed % 64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn message(names: &[String]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_static("x"));
        }
        headers
    }

    proptest! {
        #[test]
        fn fields_are_removed_as_by_a_look_up_for_each(
            names in proptest::collection::vec("[a-d-]{1,3}", 0..12),
            list in proptest::collection::vec("[a-d-]{1,3}", 0..12),
        ) {
            let mut expected = message(&names);
            let mut headers = expected.clone();
            let list: Vec<HeaderName> = list.iter().map(|name| name.parse().unwrap()).collect();
            for name in &list {
                expected.remove(name);
            }
            FieldNames::of(&headers).remove(&mut headers, &list);
            let order = |headers: &HeaderMap| headers.keys().cloned().collect::<Vec<_>>();
            prop_assert_eq!(order(&headers), order(&expected));
            prop_assert_eq!(headers, expected);
        }
    }
}
