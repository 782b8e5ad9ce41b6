//! Reads that are answered by the URL of a member, so that their bytes do not pass here.

use std::time::Duration;

use http::{HeaderValue, header};
use s3s::S3Response;
use s3s::dto::{GetObjectInput, GetObjectOutput};

use super::meta::{http_date, output_of, override_headers};
use crate::storage::index::Version;
use crate::storage::source::Source;

/// How long a URL is valid that a client is sent to.
const VALID: Duration = Duration::from_secs(300);

/// Marks a response to GET that leads elsewhere: `s3s` gives it a status of its own.
#[derive(Clone, Copy)]
pub(super) struct Redirect;

/// Sends the client to a member's own URL, if the version is one object there and the member answers as is
/// wanted.
pub(super) async fn redirect(
    source: &Source,
    version: &Version,
    input: &GetObjectInput,
) -> Option<S3Response<GetObjectOutput>> {
    let [blob] = &version.blobs[..] else {
        return None;
    };
    if input.if_match.is_some() || input.if_unmodified_since.is_some() {
        // The client repeats it there, where the `ETag` and the date may be others.
        return None;
    }
    let (index, copy) = source.first_that_works(blob)?;
    let backend = source.inventory.buckets[index].backend();
    let url = backend
        .presigned(&copy, VALID, &wanted(version, input))
        .await?;
    let mut response = S3Response::new(GetObjectOutput::default());
    let url = HeaderValue::try_from(url).ok()?;
    response.headers.insert(header::LOCATION, url);
    response.extensions.insert(Redirect);
    Some(response)
}

/// What the member's answer has to say, as parameters of the URL: it knows nothing about the object but its
/// bytes.
fn wanted(version: &Version, input: &GetObjectInput) -> Vec<(&'static str, String)> {
    let mut output = output_of(version, false);
    override_headers(&mut output, input);
    let is_typed = version.meta.content_type.is_some() || input.response_content_type.is_some();
    let all = [
        ("response-cache-control", output.cache_control),
        ("response-content-disposition", output.content_disposition),
        ("response-content-encoding", output.content_encoding),
        ("response-content-language", output.content_language),
        (
            "response-content-type",
            output.content_type.filter(|_| is_typed),
        ),
        (
            "response-expires",
            output.expires.as_ref().and_then(http_date),
        ),
    ];
    let said = all.into_iter();
    said.filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::index::Meta;

    #[test]
    fn the_url_says_what_was_stored_with_the_object_unless_the_request_says_otherwise() {
        let version = |meta| Version {
            id: String::new(),
            size: 1,
            etag: String::new(),
            meta,
            modified: 0,
            blobs: Vec::new(),
        };
        let text = |text: &str| Some(text.to_owned());
        let stored = version(Meta {
            content_type: text("text/plain"),
            content_disposition: text("attachment; filename=\"a b\""),
            expires: text("Wed, 21 Oct 2015 07:28:00 GMT"),
            ..Meta::default()
        });
        let asked = GetObjectInput {
            response_content_type: text("text/html"),
            response_content_language: text("de"),
            ..GetObjectInput::default()
        };
        let wanted = |version: &Version, input: &GetObjectInput| -> Vec<String> {
            let pairs = super::wanted(version, input).into_iter();
            pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        assert_eq!(
            wanted(&stored, &asked),
            [
                "response-content-disposition=attachment; filename=\"a b\"",
                "response-content-language=de",
                "response-content-type=text/html",
                "response-expires=Wed, 21 Oct 2015 07:28:00 GMT",
            ]
        );
        let plain = version(Meta::default());
        assert_eq!(wanted(&plain, &GetObjectInput::default()), [""; 0]);
    }
}
