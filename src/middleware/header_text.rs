//! Header values made in one piece of memory.

use std::fmt::{self, Write};

use bytes::BytesMut;
use http::HeaderValue;

/// Writes values one after another, and hands each out without a copy.
pub(super) struct HeaderText(BytesMut);

impl HeaderText {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    /// Adds to the value.
    pub(super) fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let _infallible = self.0.write_fmt(arguments);
    }

    /// Ends the value. What no header may have, which nothing here is, gives an empty one.
    pub(super) fn value(&mut self) -> HeaderValue {
        let text = self.0.split().freeze();
        HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static(""))
    }
}
