//! Keys that a bucket has and that are no paths of `object_store`: they are taken out of lists, and kept by name.
//!
//! S3 has keys such as `a//b`, `/a` and `a/../b`. A path has no empty segments and no slash at its ends, so a list
//! with one of them would fail as a whole, or would show the key of another object. Keys that are longer than those
//! of S3 are left out as well.

use std::sync::{Mutex, MutexGuard, PoisonError};

use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService};

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Limited};
use object_store::path::Path;

/// A page of a list has a thousand keys of 1,024 bytes; every byte may be six in XML.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Bytes of a key, as S3 has it; other providers have longer ones.
pub(super) const KEY_BYTES_MAX: usize = 1_024;
/// Keys that are kept by name; the others are counted.
const KEYS_MAX: usize = 1_000;

/// Keys that cannot be used.
#[derive(Debug, Default)]
pub(super) struct Unnamable(Mutex<Found>);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The first of them.
    pub(super) keys: Vec<String>,
    /// How many there are.
    pub(super) count: u64,
    /// Empty objects whose key ends in a slash: they only stand for a folder.
    pub(super) folders: u64,
}

impl Unnamable {
    /// Takes what was found since the last time.
    pub(super) fn take(&self) -> Found {
        std::mem::take(&mut *self.found())
    }

    /// Whether a key has no more bytes than can be asked for here; if not, it is kept.
    pub(super) fn has_room(&self, key: &Path) -> bool {
        let is_short = key.as_ref().len() <= KEY_BYTES_MAX;
        if !is_short {
            self.found().add(key.as_ref(), "");
        }
        is_short
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn add(&mut self, key: &str, size: &str) {
        if key.ends_with('/') && size == "0" {
            self.folders += 1;
            return;
        }
        self.count += 1;
        if self.keys.len() < KEYS_MAX {
            self.keys.push(key.to_owned());
        }
    }
}

/// Whether a key is the same as a path. White space at its ends is lost when a list is read.
pub(super) fn is_namable(key: &str) -> bool {
    !key.is_empty() && key.trim() == key && Path::parse(key).is_ok_and(|path| path.as_ref() == key)
}

/// A client whose lists have only keys that are paths.
#[derive(Debug)]
pub(super) struct ListsPaths {
    pub(super) client: reqwest::Client,
    pub(super) unnamable: std::sync::Arc<Unnamable>,
}

#[async_trait]
impl HttpService for ListsPaths {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_list = is_list(&request);
        let response = self.client.call(request).await?;
        if !is_list || !response.status().is_success() {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        let page = Limited::new(body, PAGE_BYTES_MAX).collect().await;
        let page = page.map_err(|error| HttpError::new_boxed(HttpErrorKind::Decode, error))?;
        let page = page.to_bytes();
        let filtered = match std::str::from_utf8(&page) {
            Ok(text) => Bytes::from(filtered(text, &mut self.unnamable.found())),
            // It is refused as what it is.
            Err(_not_text) => page,
        };
        head.headers.remove(CONTENT_LENGTH);
        Ok(HttpResponse::from_parts(head, filtered.into()))
    }
}

/// Whether it asks for a list: as S3 and Google, or as Azure.
fn is_list(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method() == Method::GET
        && query
            .split('&')
            .any(|it| it == "list-type=2" || it == "comp=list")
}

/// A page without the objects whose keys are not valid paths.
fn filtered(page: &str, found: &mut Found) -> String {
    let (object, key, size) = match page.contains("<Contents>") {
        true => ("Contents", "Key", "Size"),
        false => ("Blob", "Name", "Content-Length"),
    };
    let (begin, end) = (format!("<{object}>"), format!("</{object}>"));
    let (mut rest, mut kept) = (page, String::with_capacity(page.len()));
    while let Some(at) = rest.find(&begin) {
        let Some(length) = rest[at..].find(&end).map(|it| it + end.len()) else {
            break;
        };
        let element = &rest[at..at + length];
        let name = unescaped(text_of(element, key).unwrap_or_default());
        match is_namable(&name) {
            true => kept.push_str(&rest[..at + length]),
            false => {
                kept.push_str(&rest[..at]);
                found.add(&name, text_of(element, size).unwrap_or_default());
            }
        }
        rest = &rest[at + length..];
    }
    kept.push_str(rest);
    kept
}

/// The text of the first element of a name.
fn text_of<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// A text of XML as it is meant.
fn unescaped(xml: &str) -> String {
    let (mut rest, mut text) = (xml, String::with_capacity(xml.len()));
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let entity = after.split_once(';');
        let meant = entity.and_then(|(name, rest)| Some((character(name)?, rest)));
        rest = match meant {
            Some((character, rest)) => {
                text.push(character);
                rest
            }
            None => {
                text.push('&');
                after
            }
        };
    }
    text.push_str(rest);
    text
}

fn character(entity: &str) -> Option<char> {
    let numbered = |number: &str| match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => number.parse().ok(),
    };
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        other => char::from_u32(numbered(other.strip_prefix('#')?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_are_paths_can_be_used() {
        for key in ["a", "a/b c+ä.txt", "a/%25", "tidegate/x", "...", "a&b"] {
            assert!(is_namable(key), "{key}");
        }
        for key in [
            "", "/", "/a", "a/", "a//b", "a/../b", ".", "a/./b", " a", "a ", "a\n", "a\u{1}b",
        ] {
            assert!(!is_namable(key), "{key:?}");
        }
    }

    #[test]
    fn other_keys_are_taken_out_of_a_page_and_kept_by_name() {
        let object = |key: &str, size: u32| {
            format!("<Contents><Key>{key}</Key><ETag>\"e\"</ETag><Size>{size}</Size></Contents>")
        };
        let around = |objects: &str| {
            format!(
                "<ListBucketResult><Name>b</Name>{objects}<IsTruncated>false</IsTruncated></ListBucketResult>"
            )
        };
        let good = [object("a", 1), object("b&amp;c", 1)].concat();
        let all = [
            object("/a", 1),
            object("a", 1),
            object("x//&#x79;&lt;", 2),
            object("folder/", 0),
            object("b&amp;c", 1),
            object("full/", 3),
        ];
        let mut found = Found::default();
        assert_eq!(filtered(&around(&all.concat()), &mut found), around(&good));
        assert_eq!(found.keys, ["/a", "x//y<", "full/"]);
        assert_eq!((found.count, found.folders), (3, 1));
        // One that is cut off is not read at all.
        let cut = "<ListBucketResult><Contents><Key>a//b";
        assert_eq!(filtered(cut, &mut Found::default()), cut);
    }

    #[test]
    fn a_page_of_azure_is_read_as_well() {
        let blob = |name: &str| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>"
            )
        };
        let page = |blobs: &str| {
            format!("<EnumerationResults><Blobs>{blobs}</Blobs></EnumerationResults>")
        };
        let mut found = Found::default();
        let all = [blob("a"), blob("a//b"), blob("f/")].concat();
        assert_eq!(filtered(&page(&all), &mut found), page(&blob("a")));
        assert_eq!((&*found.keys, found.folders), (&["a//b".to_owned()][..], 1));
    }
}
