//! Header values made in one piece of memory.

use bytes::BytesMut;
use http::HeaderValue;

/// Writes values one after another, and hands each out without a copy.
pub(super) struct HeaderText(BytesMut);

impl HeaderText {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    /// Adds a text to the value.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a whole number.
    pub(super) fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Adds a number of thousandths, with three decimals.
    pub(super) fn thousandths(&mut self, thousandths: u64) -> &mut Self {
        let (whole, rest) = (thousandths / 1_000, thousandths % 1_000);
        // The leading one keeps the zeros behind it.
        let mut decimals = itoa::Buffer::new();
        let decimals = decimals.format(1_000 + rest);
        self.number(whole)
            .text(".")
            .text(decimals.get(1..).unwrap_or_default())
    }

    /// Ends the value. What no header may have, which nothing here is, gives an empty one.
    pub(super) fn value(&mut self) -> HeaderValue {
        let text = self.0.split().freeze();
        HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_one_another_and_decimals_keep_their_zeros() {
        let mut text = HeaderText::with_capacity(16);
        assert_eq!(text.text("dur=").thousandths(0).value(), "dur=0.000");
        assert_eq!(text.thousandths(12_034).value(), "12.034");
        assert_eq!(text.text("ttl=").number(-3_i64).value(), "ttl=-3");
    }
}
