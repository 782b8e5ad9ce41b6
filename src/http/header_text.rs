//! Header values built in one piece of memory.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

/// Writes values one after another.
pub struct HeaderText {
    text: String,
    /// Where the value that is being written begins.
    begin: usize,
}

impl HeaderText {
    /// Begins with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let text = String::with_capacity(bytes);
        Self { text, begin: 0 }
    }

    /// Adds a text to the value.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a whole number.
    pub fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Adds a number of thousandths, with three decimals.
    pub fn thousandths(&mut self, thousandths: u64) -> &mut Self {
        let (whole, rest) = (thousandths / 1_000, thousandths % 1_000);
        // The leading one keeps the zeros behind it.
        let mut decimals = itoa::Buffer::new();
        let decimals = decimals.format(1_000 + rest);
        self.number(whole)
            .text(".")
            .text(decimals.get(1..).unwrap_or_default())
    }

    /// Ends the value and returns its place in [`HeaderValues`].
    pub fn end(&mut self) -> Range<usize> {
        let begin = std::mem::replace(&mut self.begin, self.text.len());
        begin..self.begin
    }

    /// Ends writing.
    #[must_use]
    pub fn values(self) -> HeaderValues {
        HeaderValues(self.text.into())
    }
}

/// The values that were written, handed out without a copy.
pub struct HeaderValues(Bytes);

impl HeaderValues {
    /// Returns the value at a place. Bytes that are not valid in a header, which nothing here writes,
    /// give an empty value.
    #[must_use]
    pub fn at(&self, place: Range<usize>) -> HeaderValue {
        let value = HeaderValue::from_maybe_shared(self.0.slice(place));
        value.unwrap_or(HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_one_another_and_decimals_keep_their_zeros() {
        let mut text = HeaderText::with_capacity(16);
        let places = [
            text.text("dur=").thousandths(0).end(),
            text.thousandths(12_034).end(),
            text.text("ttl=").number(-3_i64).end(),
        ];
        let values = text.values();
        let values = places.map(|place| values.at(place));
        assert_eq!(values, ["dur=0.000", "12.034", "ttl=-3"]);
    }
}
