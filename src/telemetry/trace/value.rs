//! The value of a span's attribute.

use std::sync::Arc;

/// Longest text of an attribute, in bytes; what is longer is cut off.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word of the gateway.
    Word(&'static str),
    /// A text that outlives the span.
    Shared(Arc<str>),
    /// A text of the span alone.
    Text(Box<str>),
    /// A whole number.
    Whole(i64),
}

impl Value {
    /// The text, cut off after [`TEXT_BYTES_MAX`]; `None` of a number.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) => Some(text),
            Self::Shared(text) => Some(cut(text)),
            Self::Text(text) => Some(text),
            Self::Whole(_) => None,
        }
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Self {
        Self::Shared(Arc::clone(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(cut(&text).into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

/// The start of a text, of at most [`TEXT_BYTES_MAX`].
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_off_between_characters() {
        let long = format!("x{}", "é".repeat(TEXT_BYTES_MAX));
        let cut = |value: Value| value.text().map(str::len);
        assert_eq!(cut(Value::from(long.clone())), Some(TEXT_BYTES_MAX - 1));
        assert_eq!(cut(Value::from(Arc::from(long))), Some(TEXT_BYTES_MAX - 1));
        assert_eq!(cut(Value::from("short")), Some(5));
        assert_eq!(cut(Value::from(5u16)), None);
    }
}
