//! Which paths a policy row covers.
//!
//! A pattern is a literal and what may follow it. There are no wildcards inside: the longest
//! literal wins, and which one that is must be obvious.

use std::fmt;
use std::str::FromStr;

use crate::{PathError, normalise};

/// Covers one path, or every path with a common prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    literal: Box<str>,
    covers: Covers,
}

/// What a pattern covers besides its literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Covers {
    /// `/x`: the literal itself.
    Itself,
    /// `/x/*`: the literal and everything below it.
    Below,
    /// `/x*`: everything that starts with the literal, whether or not that ends a segment.
    Prefix,
}

impl PathPattern {
    /// Makes a pattern from the part before its star, without checking that a path can match it.
    pub fn new(literal: impl Into<Box<str>>, covers: Covers) -> Self {
        Self {
            literal: literal.into(),
            covers,
        }
    }

    /// Returns the part before the star; `/x`, `/x/*` and `/x*` have the same.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// Returns what the pattern covers besides its literal.
    pub fn covers(&self) -> Covers {
        self.covers
    }

    /// Returns whether the pattern covers a normalised path.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(&*self.literal) else {
            return false;
        };
        match self.covers {
            Covers::Itself => rest.is_empty(),
            Covers::Below => rest.is_empty() || rest.starts_with('/'),
            Covers::Prefix => true,
        }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let start = text.strip_suffix('*').unwrap_or(text);
        if start.contains('*') {
            return Err(PatternError::Star);
        }
        if *normalise(start)? != *start {
            return Err(PatternError::Escape);
        }
        let (literal, covers) = match start.strip_suffix('/') {
            _ if start == text => (start, Covers::Itself),
            Some(parent) => (parent, Covers::Below),
            None => (start, Covers::Prefix),
        };
        Ok(Self {
            literal: literal.into(),
            covers,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match self.covers {
            Covers::Itself => "",
            Covers::Below => "/*",
            Covers::Prefix => "*",
        };
        write!(f, "{}{ending}", self.literal)
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A star is not at the end.
    #[error("a star is allowed only at the end of a pattern")]
    Star,
    /// An escape would never match, since paths are decoded first.
    #[error("a pattern must not contain percent escapes")]
    Escape,
    /// No path looks like this, so the row could never match.
    #[error("no request can match: {0}")]
    Path(#[from] PathError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, path: &str) -> bool {
        pattern.parse::<PathPattern>().unwrap().matches(path)
    }

    #[test]
    fn a_plain_pattern_covers_itself_only() {
        assert!(covers("/x", "/x"));
        assert!(!covers("/x", "/x/") && !covers("/x", "/x/y") && !covers("/x", "/xy"));
        assert!(covers("/", "/") && !covers("/", "/x"));
    }

    #[test]
    fn slash_star_covers_the_path_and_all_below() {
        assert!(covers("/x/*", "/x") && covers("/x/*", "/x/") && covers("/x/*", "/x/y/z"));
        assert!(!covers("/x/*", "/xy") && !covers("/x/*", "/X") && !covers("/x/*", "/"));
    }

    #[test]
    fn a_star_without_slash_covers_parts_of_segments() {
        for path in ["/x", "/x/", "/xs", "/xs/1"] {
            assert!(covers("/x*", path), "{path}");
        }
        assert!(!covers("/x*", "/y"));
    }

    #[test]
    fn slash_star_alone_covers_everything() {
        assert!(covers("/*", "/") && covers("/*", "/x") && covers("/*", "/x/y"));
    }

    #[test]
    fn the_three_kinds_share_their_literal() {
        for pattern in ["/x", "/x/*", "/x*"] {
            let parsed: PathPattern = pattern.parse().unwrap();
            assert_eq!(parsed.literal(), "/x");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_that_could_never_match_is_refused() {
        let cases = [
            ("/*/x", PatternError::Star),
            ("/x**", PatternError::Star),
            ("/x/*/*", PatternError::Star),
            ("/a%20b", PatternError::Escape),
            ("/a%2fb", PatternError::Path(PathError::EncodedSlash)),
            ("", PatternError::Path(PathError::NotAbsolute)),
            ("*", PatternError::Path(PathError::NotAbsolute)),
            ("x/*", PatternError::Path(PathError::NotAbsolute)),
            ("//*", PatternError::Path(PathError::EmptySegment)),
            ("/x//*", PatternError::Path(PathError::EmptySegment)),
            ("/x/../y", PatternError::Path(PathError::DotSegment)),
        ];
        for (pattern, reason) in cases {
            assert_eq!(pattern.parse::<PathPattern>(), Err(reason), "{pattern:?}");
        }
    }
}
