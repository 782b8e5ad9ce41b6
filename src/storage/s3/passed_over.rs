//! What `s3s` passes over in the document of a request although it means something: sections of character
//! data, the tags of a new bucket, and text after the end of a list of keys.

use http::{Method, Request, header};

const SECTION: &[u8] = b"<![CDATA[";
const TAGS: &[u8] = b"<Tag";
/// The end of a list of keys, in which no text has a `<`.
const END: &[u8] = b"</Delete";
/// The document of a new bucket. What is longer is an object, whose path may look like that of a bucket.
const BUCKET_BYTES_MAX: u64 = 64 << 10;

/// A search that goes on over the frames of a body.
#[derive(Default)]
pub(super) struct PassedOver {
    /// What may be the beginning of a mark.
    tail: Vec<u8>,
    /// Whether there is a section of character data.
    pub(super) has_section: bool,
    /// Whether there are tags.
    pub(super) has_tags: bool,
    /// Whether there is text after the end of a list of keys.
    pub(super) has_text_behind: bool,
    /// Whether the last byte after that end is one of a tag; nothing before the end.
    behind: Option<InTag>,
}

/// Whether a byte is one of a tag.
type InTag = bool;

impl PassedOver {
    /// Nothing for a request that has no such document.
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        let may_be_document = request.method() == Method::POST || may_make_bucket(request);
        may_be_document.then(Self::default)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let has = |mark: &[u8]| self.tail.windows(mark.len()).any(|it| it == mark);
        let (has_section, has_tags) = (has(SECTION), has(TAGS));
        self.has_section |= has_section;
        self.has_tags |= has_tags;
        match self.behind {
            Some(_) => self.look_behind(bytes),
            None => {
                let found = self.tail.windows(END.len()).position(|it| it == END);
                if let Some(at) = found {
                    self.behind = Some(true);
                    let rest = self.tail[at + END.len()..].to_vec();
                    self.look_behind(&rest);
                }
            }
        }
        let searched = self.tail.len().saturating_sub(SECTION.len() - 1);
        self.tail.drain(..searched);
    }

    fn look_behind(&mut self, bytes: &[u8]) {
        let mut is_in_tag = self.behind.unwrap_or_default();
        for byte in bytes {
            match (is_in_tag, byte) {
                (true, b'>') => is_in_tag = false,
                (false, b'<') => is_in_tag = true,
                (true, _) => {}
                (false, byte) => self.has_text_behind |= !byte.is_ascii_whitespace(),
            }
        }
        self.behind = Some(is_in_tag);
    }
}

/// Whether a request may make a bucket, by its head: below a domain, a key looks like one.
fn may_make_bucket<B>(request: &Request<B>) -> bool {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    request.method() == Method::PUT
        && !request.uri().path().trim_matches('/').contains('/')
        && length.is_some_and(|length| length <= BUCKET_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_the_body_is_cut() {
        let text = b"<Key>a<![CDATA[b]]></Key><Tags>";
        for at in 0..text.len() {
            let mut scan = PassedOver::default();
            for bytes in [&text[..at], &text[at..]] {
                scan.update(bytes);
            }
            assert!(scan.has_section && scan.has_tags, "{at}");
            assert!(scan.tail.len() < SECTION.len());
        }
        let mut scan = PassedOver::default();
        scan.update(b"<Key>&lt;![CDATA[ Tags</Key>");
        assert!(!scan.has_text_behind);
        assert!(!scan.has_section && !scan.has_tags);
    }

    #[test]
    fn text_behind_a_list_of_keys_is_found_wherever_the_body_is_cut() {
        for (text, expected) in [
            ("<Delete><Object><Key>a</Key></Object></Delete>", false),
            ("<Delete>text</Delete >\r\n <!-- the end -->\n", false),
            ("<Delete></Delete>a", true),
            ("<Delete></Delete> <!-- --> a>", true),
            ("<Deleted>a", false),
        ] {
            for at in 0..=text.len() {
                let mut scan = PassedOver::default();
                for bytes in [&text[..at], &text[at..]] {
                    scan.update(bytes.as_bytes());
                }
                assert_eq!(scan.has_text_behind, expected, "{text} {at}");
            }
        }
    }
}
