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
