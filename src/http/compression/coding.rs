//! The codings that an answer may be sent in.

use http::HeaderValue;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, in the order of the default.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The name on the wire and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the value of `Content-Encoding`.
    #[must_use]
    pub fn field(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    /// Reads the name of the configuration.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.as_str() == name)
    }

    /// Whether `Accept-Encoding` means it by a name.
    pub(super) fn is_named(self, name: &str) -> bool {
        let is_alias = self == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
        is_alias || name.eq_ignore_ascii_case(self.as_str())
    }
}
