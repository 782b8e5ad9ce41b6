//! `${filename}` in the fields of a form stands for the name of its file, before the policy is judged. `s3s` takes
//! it literally.

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Frame;
use s3s::{Body, S3Result, StdError, s3_error};

use super::fields::Fields;
use super::guard::FORM_FIELDS_BYTES_MAX;

const VARIABLE: &str = "${filename}";

/// The body of a form in which the fields before its file have the file's name.
pub(super) fn filled_in(
    body: Body,
    boundary: String,
) -> impl Stream<Item = Result<Frame<Bytes>, StdError>> + Send + 'static {
    let form = Unfilled {
        boundary,
        beginning: Some(Vec::new()),
        rest: body,
    };
    let frames = stream::unfold(form, async |mut form| {
        let next = form.next().await?;
        Some((next, form))
    });
    // Whoever verifies the signature beforehand may have read it to its end.
    frames.fuse()
}

/// Refuses fields that still ask for the name.
pub(super) fn check(fields: &[(String, String)]) -> S3Result<()> {
    match fields.iter().any(|(_, value)| value.contains(VARIABLE)) {
        true => Err(s3_error!(
            InvalidArgument,
            "${{filename}} stands for the name of the file, which cannot contain it"
        )),
        false => Ok(()),
    }
}

/// A form whose file may not have begun.
struct Unfilled {
    boundary: String,
    /// What has been read, until the file begins.
    beginning: Option<Vec<u8>>,
    rest: Body,
}

impl Unfilled {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, StdError>> {
        while let Some(mut beginning) = self.beginning.take() {
            let frame = match self.rest.frame().await {
                Some(Ok(frame)) => frame,
                None if !beginning.is_empty() => {
                    self.rest = Body::empty();
                    return Some(Ok(Frame::data(beginning.into())));
                }
                other => return other,
            };
            beginning.extend_from_slice(&frame.into_data().unwrap_or_default());
            match Filled::of(&beginning, &self.boundary) {
                Some(Filled { fields, file }) => {
                    let Some(mut whole) = fields else {
                        return Some(Err("the fields of a form are too large".into()));
                    };
                    whole.extend_from_slice(&beginning[file..]);
                    return Some(Ok(Frame::data(whole.into())));
                }
                // The fields are too large, which is said when they have been read.
                None if beginning.len() > bytes_max() => {
                    return Some(Ok(Frame::data(beginning.into())));
                }
                None => self.beginning = Some(beginning),
            }
        }
        self.rest.frame().await
    }
}

fn bytes_max() -> usize {
    usize::try_from(FORM_FIELDS_BYTES_MAX).unwrap_or(usize::MAX)
}

/// A form whose file has begun.
struct Filled {
    /// All before the part that is the file; none if it is too large.
    fields: Option<Vec<u8>>,
    /// Where that part is in what was sent.
    file: usize,
}

impl Filled {
    /// Nothing until the head of the file is there.
    fn of(sent: &[u8], boundary: &str) -> Option<Self> {
        // Fields and heads are texts, and the file, which may be none, comes after them.
        let text = match std::str::from_utf8(sent) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&sent[..error.valid_up_to()]).ok()?,
        };
        let fields = Fields::of(text, boundary)?;
        Some(Self {
            fields: filled(&fields, text),
            file: fields.file,
        })
    }
}

/// The beginning of a form with the file's name in those of its values that ask for it.
fn filled(fields: &Fields<'_>, text: &str) -> Option<Vec<u8>> {
    let (text, name) = (&text[..fields.file], last_segment(fields.filename));
    let values = fields.values.iter().map(|(_, value)| value);
    let asked = values
        .clone()
        .map(|it| text[it.clone()].matches(VARIABLE).count());
    let asked: usize = asked.sum();
    if text.len() + asked.saturating_mul(name.len()) > bytes_max() {
        return None;
    }
    let (mut filled, mut at) = (Vec::new(), 0);
    for value in values {
        filled.extend_from_slice(&text.as_bytes()[at..value.start]);
        let named = text[value.clone()].replace(VARIABLE, name);
        filled.extend_from_slice(named.as_bytes());
        at = value.end;
    }
    filled.extend_from_slice(&text.as_bytes()[at..]);
    Some(filled)
}

/// A client may name the path of a file.
fn last_segment(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "--b\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n";

    fn form(key: &str, filename: &str) -> Vec<u8> {
        let file = format!("content-disposition: form-data; name=\"file\"{filename}\r\n\r\n");
        let form = format!("{HEAD}{key}\r\n--b\r\n{file}${{filename}}");
        [form.as_bytes(), b"\xff\r\n--b--\r\n"].concat()
    }

    async fn read(sent: &[u8], step: usize) -> Result<Vec<u8>, StdError> {
        let frames: Vec<_> = sent
            .chunks(step)
            .map(|it| Ok::<_, StdError>(Frame::data(Bytes::copy_from_slice(it))))
            .collect();
        let body = http_body_util::StreamBody::new(stream::iter(frames));
        let mut filled = Box::pin(filled_in(Body::http_body_unsync(body), "b".to_owned()));
        let mut whole = Vec::new();
        while let Some(frame) = filled.next().await {
            whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok(whole)
    }

    #[tokio::test]
    async fn fields_have_the_last_segment_of_the_name_however_the_form_arrives() {
        for (key, name, expected) in [
            ("f/${filename}", "; filename=\"a.txt\"", "f/a.txt"),
            ("${filename}", "; filename=\"C:\\x\\ä b\"", "ä b"),
            ("${filename}-${filename}", "; filename=\"x/y\"", "y-y"),
            ("f/${filename}", "", "f/"),
            ("f/${Filename}", "; filename=\"a\"", "f/${Filename}"),
            ("${filename}", "; filename=\"${filename}\"", "${filename}"),
        ] {
            for step in [1, 7, 10_000] {
                let filled = read(&form(key, name), step).await.unwrap();
                assert_eq!(filled, form(expected, name), "{key} {step}");
            }
        }
    }

    #[tokio::test]
    async fn what_has_no_file_is_passed_on_as_it_is_and_a_name_cannot_grow_without_bound() {
        for sent in [&b""[..], b"--b\r\n", b"neither", b"--b\r\n\xff"] {
            assert_eq!(read(sent, 3).await.unwrap(), sent);
        }
        let large = vec![b'x'; bytes_max() + 10];
        assert!(read(&large, 100_000).await.unwrap() == large);
        let name = format!("; filename=\"{}\"", "x".repeat(1_000));
        let grown = form(&"${filename}".repeat(2_000), &name);
        assert!(read(&grown, 100_000).await.is_err());
    }

    #[test]
    fn a_field_that_still_asks_for_the_name_is_refused() {
        let field = |value: &str| [("key".to_owned(), value.to_owned())];
        assert!(check(&field("f/${filename}")).is_err());
        assert!(check(&field("f/${name}")).is_ok());
    }
}
