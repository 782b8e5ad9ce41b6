//! A policy file as text.

use std::borrow::Cow;

use crate::syntax::{Diagnostic, Span};

/// Largest policy file; a hundred regions and policies with their tests need a tenth of it.
pub const BYTES_MAX: usize = 256 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file's name and its text.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    name: &'a str,
    text: Cow<'a, str>,
    /// Why the text cannot be a policy, regardless of its content.
    unreadable: Option<Diagnostic>,
}

impl<'a> Source<'a> {
    /// Takes the bytes of a file; `name` is its name in diagnostics.
    ///
    /// Bytes that are too many or not UTF-8 result in a source with one error, never in a panic.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        let kept = &bytes[..bytes.len().min(BYTES_MAX)];
        let (text, unreadable) = match std::str::from_utf8(kept) {
            Ok(text) => (Cow::Borrowed(text), None),
            // The limit may have split a character.
            Err(error) if error.error_len().is_none() && bytes.len() > BYTES_MAX => {
                (String::from_utf8_lossy(&kept[..error.valid_up_to()]), None)
            }
            Err(error) => {
                let at = error.valid_up_to();
                let refused = Diagnostic::error(Span::new(at, at), "the file is not UTF-8")
                    .label("the first byte that is not")
                    .help("save the file as UTF-8");
                (String::from_utf8_lossy(kept), Some(refused))
            }
        };
        let too_large = (bytes.len() > BYTES_MAX).then(|| {
            let end = text.len();
            Diagnostic::error(Span::new(end, end), "the file is larger than 256 KiB")
                .label("the limit is reached here")
                .help("use groups for lists of regions that are repeated")
        });
        Self {
            name,
            unreadable: too_large.or(unreadable),
            text,
        }
    }

    /// Returns the file's name in diagnostics.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Returns the text, with its byte order mark if there is one.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns where the text begins, after a byte order mark.
    pub(crate) fn begin(&self) -> usize {
        match self.text.starts_with(BYTE_ORDER_MARK) {
            true => BYTE_ORDER_MARK.len_utf8(),
            false => 0,
        }
    }

    /// Returns why the text cannot be a policy, regardless of its content.
    pub(crate) fn unreadable(&self) -> Option<&Diagnostic> {
        self.unreadable.as_ref()
    }
}
