//! Which requests a stored answer is for, by the fields that its `Vary` names (RFC 9111 section 4.1).

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE, VARY};
use http::{HeaderMap, HeaderName};

/// Most fields that a `Vary` may name; answers that vary by more are not stored.
const NAMES_MAX: usize = 16;
/// Most bytes of the names and values that one answer is selected by.
const BYTES_MAX: usize = 4 << 10;

/// The fields of a request that select an answer. Not `Debug`: they may be a client's secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Selection(Box<[Selecting]>);

/// A field that `Vary` names, and what a request had in it.
type Selecting = (HeaderName, Option<Box<[u8]>>);

impl Selection {
    /// Reads the `Vary` of an answer and the values of its request; `None` if the answer cannot be selected
    /// by them: it varies by everything, or by more than may be kept.
    pub fn of(request: &HeaderMap, answer: &HeaderMap) -> Option<Self> {
        let mut names: Vec<HeaderName> = Vec::new();
        for line in answer.get_all(VARY) {
            let line = line.to_str().ok()?;
            for name in line.split(',').map(str::trim).filter(|it| !it.is_empty()) {
                let name: HeaderName = name.parse().ok()?;
                if name == "*" || (names.len() == NAMES_MAX && !names.contains(&name)) {
                    return None;
                }
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let values = names.into_iter().map(|name| {
            let value = value(&name, request);
            (name, value)
        });
        let selection = Self(values.collect());
        (selection.bytes() <= BYTES_MAX).then_some(selection)
    }

    /// The fields that it selects by.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Whether the answer is for every request of its URL.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the answer is for this request.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let mut fields = self.0.iter();
        fields.all(|(name, expected)| value(name, request) == *expected)
    }

    /// The bytes that it occupies.
    pub fn bytes(&self) -> usize {
        let length = |(name, value): &(HeaderName, Option<Box<[u8]>>)| {
            name.as_str().len() + value.as_ref().map_or(0, |it| it.len())
        };
        self.0.iter().map(length).sum()
    }
}

/// The value of a field in a form in which equal meanings are mostly equal bytes.
fn value(name: &HeaderName, request: &HeaderMap) -> Option<Box<[u8]>> {
    let lines: Vec<&[u8]> = request
        .get_all(name)
        .iter()
        .map(|it| it.as_bytes())
        .collect();
    if lines.is_empty() {
        return None;
    }
    if *name == COOKIE {
        return Some(lines.join(&b"; "[..]).into());
    }
    let line = lines.join(&b","[..]);
    // White space inside quotes may mean something.
    if line.contains(&b'"') {
        return Some(line.into());
    }
    let mut members: Vec<Vec<u8>> = line
        .split(|byte| *byte == b',')
        .map(without_space)
        .collect();
    members.retain(|member| !member.is_empty());
    if [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name) {
        // Preferences: quality values order them, not their places.
        for member in &mut members {
            member.make_ascii_lowercase();
            member.retain(|byte| !byte.is_ascii_whitespace());
        }
        members.sort();
    }
    Some(members.join(&b","[..]).into())
}

fn without_space(member: &[u8]) -> Vec<u8> {
    member.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn an_answer_is_for_requests_with_the_same_values() {
        let first = fields(&[("foo", "1"), ("bar", "x"), ("other", "2")]);
        let selection = Selection::of(&first, &fields(&[("vary", "Foo, BAR"), ("vary", "baz")]));
        let selection = selection.unwrap();
        assert!(selection.matches(&first));
        assert!(selection.matches(&fields(&[("foo", "1"), ("bar", "x")])));
        for other in [
            fields(&[("foo", "2"), ("bar", "x")]),
            fields(&[("foo", "1")]),
            fields(&[("foo", "1"), ("bar", "x"), ("baz", "")]),
            fields(&[("foo", "1"), ("bar", "X")]),
        ] {
            assert!(!selection.matches(&other), "{other:?}");
        }
    }

    #[test]
    fn an_answer_that_varies_by_everything_or_too_much_is_for_no_request() {
        let answers = ["*", "foo, *", ", *", "a b", "\u{e9}"].map(|vary| fields(&[("vary", vary)]));
        for answer in answers {
            assert!(
                Selection::of(&HeaderMap::new(), &answer).is_none(),
                "{answer:?}"
            );
        }
        let many: Vec<_> = (0..=NAMES_MAX).map(|it| format!("x-{it}")).collect();
        let request = HeaderMap::new();
        assert!(Selection::of(&request, &fields(&[("vary", &many.join(","))])).is_none());
        assert!(Selection::of(&request, &fields(&[("vary", &many[1..].join(","))])).is_some());
        let long = fields(&[("foo", &"x".repeat(BYTES_MAX))]);
        assert!(Selection::of(&long, &fields(&[("vary", "foo")])).is_none());
    }

    #[test]
    fn white_space_and_the_order_of_preferences_select_nothing() {
        let same = |name: &'static str, a: &str, b: &str| {
            let vary = fields(&[("vary", name)]);
            let selection = Selection::of(&fields(&[(name, a)]), &vary).unwrap();
            selection.matches(&fields(&[(name, b)]))
        };
        assert!(same("foo", "1,2", " 1, 2 "));
        assert!(!same("foo", "1,2", "2,1"));
        assert!(!same("foo", "\"1,2\"", "\"1, 2\""));
        assert!(same("accept-language", "en, de;q=0.5", "DE ; q=0.5,eN"));
        assert!(!same("accept-language", "en, de", "en"));
        let both = fields(&[("foo", "1"), ("foo", "2")]);
        let one = Selection::of(&both, &fields(&[("vary", "foo")])).unwrap();
        assert!(one.matches(&fields(&[("foo", "1, 2")])));
    }
}
