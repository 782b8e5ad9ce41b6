//! `Via` (RFC 9110 section 7.6.3): records the protocol of a request, and shows whether it has
//! passed this process before.

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

use tidegate_model::RegionId;

/// Holds the name by which other proxies know this process; it is unique to the process.
#[derive(Debug)]
pub struct Pseudonym {
    name: String,
    /// The entries of `Via` for requests of HTTP/1.0, HTTP/1.1 and HTTP/2.
    entries: [HeaderValue; 3],
}

impl Pseudonym {
    /// Makes a random one for a process in a region.
    #[must_use]
    pub fn random(region: &RegionId) -> Self {
        let name = format!("tidegate-{region}-{:08x}", fastrand::u32(..));
        // A region is made of letters, digits and dashes.
        let unnamed = |_| HeaderValue::from_static("1.1 tidegate");
        let entry = |protocol| HeaderValue::try_from(format!("{protocol} {name}"));
        let entries = ["1.0", "1.1", "2"].map(|protocol| entry(protocol).unwrap_or_else(unnamed));
        Self { name, entries }
    }

    /// Adds this process to those that have forwarded a request.
    pub(super) fn sign(&self, headers: &mut HeaderMap, version: Version) {
        let [http_10, http_11, http_2] = &self.entries;
        let entry = match version {
            Version::HTTP_2 => http_2,
            Version::HTTP_10 => http_10,
            _ => http_11,
        };
        headers.append(VIA, entry.clone());
    }

    /// Returns whether this process has forwarded the request before.
    pub(super) fn has_signed(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(VIA).into_iter();
        let mut entries = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        entries.any(|entry| {
            let mut words = entry.split(u8::is_ascii_whitespace);
            let by = words.by_ref().filter(|word| !word.is_empty()).nth(1);
            by.is_some_and(|by| by.eq_ignore_ascii_case(self.name.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_recognises_itself_and_nobody_else() {
        let region: RegionId = "eu-west-1".parse().unwrap();
        let (own, other) = (Pseudonym::random(&region), Pseudonym::random(&region));
        let mut headers = HeaderMap::new();
        headers.append(
            VIA,
            HeaderValue::from_static("1.1 tidegate, 2 tidegate-eu-west-1"),
        );
        other.sign(&mut headers, Version::HTTP_2);
        assert!(!own.has_signed(&headers));
        own.sign(&mut headers, Version::HTTP_11);
        assert!(own.has_signed(&headers) && other.has_signed(&headers));

        let name = &own.name;
        for (line, expected) in [
            (format!("1.0 fred,HTTP/1.1\t {name} (a, b), 1.1 c"), true),
            (format!("1.1 {}", name.to_uppercase()), true),
            (name.clone(), false),
            (format!("1.1 fred ({name})"), false),
            (format!("1.1 {name}0"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(VIA, line.parse().unwrap());
            assert_eq!(own.has_signed(&headers), expected, "{line}");
        }
    }
}
