//! Why a gateway does not take over a revision.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a gateway does not take over a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevisionRefusal {
    /// Its text is too long, or missing.
    Size,
    /// Its text is not the one that its digest is of.
    Digest,
    /// Its text has errors.
    Invalid,
    /// A test in it fails.
    Test,
    /// It needs a newer version of the language.
    Language,
    /// It is not signed, and only signed revisions count.
    Unsigned,
    /// No trusted key has signed it.
    Signature,
    /// It is below the floor of a revision that was accepted.
    Floor,
    /// It is another text than the one that was accepted under its number.
    Changed,
    /// It is not compiled and tested yet: this machine is slow, or the text is.
    Slow,
}

impl RevisionRefusal {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Size,
        Self::Digest,
        Self::Invalid,
        Self::Test,
        Self::Language,
        Self::Unsigned,
        Self::Signature,
        Self::Floor,
        Self::Changed,
        Self::Slow,
    ];

    /// Returns its name in metrics and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Invalid => "invalid",
            Self::Test => "test",
            Self::Language => "language",
            Self::Unsigned => "unsigned",
            Self::Signature => "signature",
            Self::Floor => "floor",
            Self::Changed => "changed",
            Self::Slow => "slow",
        }
    }

    /// Whether this says anything of the revision: what takes long says nothing, and is waited for.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Slow
    }
}

impl fmt::Display for RevisionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
