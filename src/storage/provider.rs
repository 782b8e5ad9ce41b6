//! Whose a bucket is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon S3.
    Aws,
    /// Google Cloud Storage.
    Gcp,
    /// Azure Blob Storage.
    Azure,
    /// Any server that speaks S3.
    S3,
    /// A local directory.
    File,
}

impl Provider {
    /// Returns its name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::S3 => "s3",
            Self::File => "file",
        }
    }

    /// Whether what a URL of its own is asked to answer, by a parameter such as `response-content-type`, is
    /// answered.
    pub(super) fn answers(self, parameter: &str) -> bool {
        match self {
            Self::Aws | Self::S3 => true,
            // https://docs.cloud.google.com/storage/docs/xml-api/reference-headers has no others.
            Self::Gcp => matches!(
                parameter,
                "response-content-disposition" | "response-content-type"
            ),
            // Azure has such fields, but `object_store` cannot sign them.
            Self::Azure | Self::File => false,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Aws, Self::Gcp, Self::Azure, Self::S3, Self::File];
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.ok_or("expected aws, gcp, azure, s3 or file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_asks_only_for_what_its_provider_answers() {
        let (typed, cached) = ("response-content-type", "response-cache-control");
        for (provider, answers) in [
            (Provider::Aws, [true, true]),
            (Provider::S3, [true, true]),
            (Provider::Gcp, [true, false]),
            (Provider::Azure, [false, false]),
            (Provider::File, [false, false]),
        ] {
            assert_eq!(
                [typed, cached].map(|it| provider.answers(it)),
                answers,
                "{provider}"
            );
        }
    }
}
