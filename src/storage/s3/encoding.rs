//! How lists write keys, which may have characters that XML cannot have.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::EncodingType;
use s3s::{S3Result, s3_error};

use super::xml::is_in_xml;
use crate::storage::listing::{ListQuery, Page};

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'*');

/// How texts are written.
#[derive(Clone, Copy)]
pub(super) struct Encoding(bool);

impl Encoding {
    pub(super) fn of(requested: Option<&EncodingType>) -> S3Result<Self> {
        match requested.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some("url") => Ok(Self(true)),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    /// The same, or `url` if XML cannot have one of the texts: a client reads in the answer how it is
    /// written.
    pub(super) fn suiting<'a>(self, mut texts: impl Iterator<Item = &'a str>) -> Self {
        Self(self.0 || texts.any(|text| !text.chars().all(is_in_xml)))
    }

    pub(super) fn suiting_page(self, page: &Page, query: &ListQuery) -> Self {
        let keys = page.entries.iter().map(|entry| entry.key.as_str());
        let prefixes = page.common_prefixes.iter().map(String::as_str);
        let asked = [&query.prefix, &query.delimiter, &query.after];
        let asked = asked.into_iter().map(String::as_str);
        self.suiting(keys.chain(prefixes).chain(asked))
    }

    /// As an answer names it.
    pub(super) fn named(self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }

    pub(super) fn text(self, text: String) -> String {
        match self.0 {
            true => utf8_percent_encode(&text, PLAIN).to_string(),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_xml_cannot_have_is_written_as_in_a_url() {
        let plain = Encoding(false);
        for text in ["a b", "\t\r\n", "🌊é", "\u{FFFD}"] {
            assert!(!plain.suiting([text].into_iter()).0, "{text:?}");
        }
        for text in ["a\u{1}", "\u{FFFF}", "\u{B}"] {
            let encoding = plain.suiting(["a", text].into_iter());
            assert!(encoding.named().is_some(), "{text:?}");
            assert!(encoding.text(text.to_owned()).contains('%'));
        }
    }
}
