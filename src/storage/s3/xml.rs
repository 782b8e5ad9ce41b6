//! Answers in XML 1.0, which has not all characters that keys have.

use http::{Response, header};
use s3s::Body;

/// Makes an answer one that a client can read, with keys as they are. An element whose text XML cannot have is
/// left out: the client knows the key that it has sent. Lists are [encoded](super::encoding) instead.
pub(super) fn mend(response: &mut Response<Body>) {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_xml = kind.is_some_and(|kind| kind == "application/xml");
    // The bytes of an object are a stream, whatever its type.
    let body = response.body().bytes().filter(|_| is_xml);
    let text = body.and_then(|body| String::from_utf8(body.to_vec()).ok());
    if let Some(mended) = text.and_then(|text| mended(&text)) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(mended);
    }
}

/// A document in other words, if it needs them. In its texts, `<` and `>` are escaped.
fn mended(xml: &str) -> Option<String> {
    if !xml.contains(|character: char| character == '\r' || !is_in_xml(character)) {
        return None;
    }
    let (mut rest, mut mended) = (xml, String::with_capacity(xml.len()));
    while let Some(at) = rest.find(|character: char| !is_in_xml(character)) {
        let begin = rest[..at].rfind('<')?;
        let end = at + rest[at..].find('>')? + 1;
        mended.push_str(&rest[..begin]);
        rest = &rest[end..];
    }
    mended.push_str(rest);
    // As it is, a reader takes it for a line feed.
    Some(mended.replace('\r', "&#13;"))
}

/// Whether XML 1.0 can have a character.
pub(super) fn is_in_xml(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_have_is_left_out_with_its_element() {
        let xml = "<R><Deleted><Key>a\u{1}b\u{2}</Key></Deleted><Deleted><Key>c</Key></Deleted>\
                   <Key>\u{FFFF}</Key></R>";
        let expected = "<R><Deleted></Deleted><Deleted><Key>c</Key></Deleted></R>";
        assert_eq!(mended(xml).as_deref(), Some(expected));
    }

    #[test]
    fn a_carriage_return_comes_back_as_it_is() {
        let xml = "<Key>a\r\nb</Key>";
        assert_eq!(mended(xml).as_deref(), Some("<Key>a&#13;\nb</Key>"));
        assert_eq!(mended("<Key>a\n\tb 🌊</Key>"), None);
    }

    #[test]
    fn only_answers_of_ours_are_mended() {
        let answer = |kind: &str, body: Body| {
            let mut response = Response::builder().header("content-type", kind);
            response = response.header("content-length", "9");
            let mut response = response.body(body).unwrap();
            mend(&mut response);
            let bytes = response.body().bytes().unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            (text, response.headers().contains_key("content-length"))
        };
        let text = || Body::from("<A>\u{1}</A>".to_owned());
        assert_eq!(answer("application/xml", text()), (String::new(), false));
        assert_eq!(
            answer("text/plain", text()),
            ("<A>\u{1}</A>".to_owned(), true)
        );
    }
}
