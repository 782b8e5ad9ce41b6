//! The digests of a body while it is read: only those that somebody wants to know.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use ring::digest;
use s3s::checksum::ChecksumHasher;

use crate::storage::hex::hex;

/// Algorithms whose checksums are compared, and kept with the object.
const KEPT: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
/// Those whose checksums are only compared.
const COMPARED: [&str; 2] = ["md5", "sha512"];

/// Checksums, in base64, by the name of their algorithm.
pub(super) type Checksums = BTreeMap<String, String>;

/// Makes a value of S3 that has checksums: each is a field of its own.
macro_rules! with_checksums {
    ($checksums:expr, $output:ident { $($fields:tt)* }) => {{
        let mut checksums = $checksums;
        $output {
            checksum_crc32: checksums.remove("crc32"),
            checksum_crc32c: checksums.remove("crc32c"),
            checksum_crc64nvme: checksums.remove("crc64nvme"),
            checksum_sha1: checksums.remove("sha1"),
            checksum_sha256: checksums.remove("sha256"),
            $($fields)*
        }
    }};
}
pub(super) use with_checksums;

/// Takes the checksums out of such a value, each with the name of its algorithm.
macro_rules! checksums_in {
    ($of:ident) => {
        [
            ("crc32", $of.checksum_crc32),
            ("crc32c", $of.checksum_crc32c),
            ("crc64nvme", $of.checksum_crc64nvme),
            ("sha1", $of.checksum_sha1),
            ("sha256", $of.checksum_sha256),
        ]
    };
}
pub(super) use checksums_in;

/// Whether checksums of an algorithm can be compared.
pub(super) fn is_compared(algorithm: &str) -> bool {
    is_kept(algorithm) || COMPARED.contains(&algorithm)
}

/// Whether checksums of an algorithm are kept with an object.
pub(super) fn is_kept(algorithm: &str) -> bool {
    KEPT.contains(&algorithm)
}

/// Hashers of those that are wanted.
pub(super) struct Hashers {
    kept: ChecksumHasher,
    md5: Option<Md5>,
    sha512: Option<digest::Context>,
    payload: Option<digest::Context>,
}

impl Hashers {
    /// Those of some algorithms, and of the payload's SHA-256.
    pub(super) fn of(wants: impl Fn(&str) -> bool, has_payload: bool) -> Self {
        Self {
            kept: ChecksumHasher {
                crc32: wants("crc32").then(Default::default),
                crc32c: wants("crc32c").then(Default::default),
                sha1: wants("sha1").then(Default::default),
                sha256: wants("sha256").then(Default::default),
                crc64nvme: wants("crc64nvme").then(Default::default),
            },
            md5: wants("md5").then(Md5::new),
            sha512: wants("sha512").then(|| digest::Context::new(&digest::SHA512)),
            payload: has_payload.then(|| digest::Context::new(&digest::SHA256)),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.kept.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        for context in [&mut self.sha512, &mut self.payload].into_iter().flatten() {
            context.update(bytes);
        }
    }

    /// The checksums, and the SHA-256 of the payload in hexadecimal.
    pub(super) fn finish(self) -> (Checksums, Option<String>) {
        let kept = self.kept.finalize();
        let md5 = self.md5.map(|md5| base64(&md5.finalize()));
        let sha512 = self.sha512.map(|context| base64(context.finish().as_ref()));
        let all = checksums_in!(kept).into_iter();
        let all = all.chain([("md5", md5), ("sha512", sha512)]);
        let given = all.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let payload = self.payload.map(|context| hex(context.finish().as_ref()));
        (given.collect(), payload)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
