//! The name of a region, such as `eu-west-1`.
//!
//! There is no list of AWS regions here: a new region must not need a new release.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use crate::settings::Setting;

/// Longest region name; names appear in metric labels and response headers.
const LENGTH_MAX: usize = 32;

/// Reserved: metrics and logs use it for the primary node.
const RESERVED: &str = "primary";

/// Names a region; cheap to clone.
///
/// 1 to 32 lower-case letters, digits and hyphens, the first a letter, so that a name needs no
/// quoting in a header, a metric label or a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RegionId(Arc<str>);

impl RegionId {
    /// The region of this process.
    pub const SETTING: Setting = Setting {
        key: "region",
        variable: Some("REGION"),
        flag: Some("--region"),
        range: || format!("1 to {LENGTH_MAX} lower-case letters, digits and hyphens"),
        meaning: "The region that this process runs in, such as `eu-west-1`.",
        ..Setting::UNNAMED
    };

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RegionId {
    type Err = RegionError;

    fn from_str(name: &str) -> Result<Self, RegionError> {
        if name.is_empty() {
            return Err(RegionError::Empty);
        }
        if name.len() > LENGTH_MAX {
            return Err(RegionError::TooLong);
        }
        if name == RESERVED {
            return Err(RegionError::Reserved);
        }
        let starts_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_with_letter || !name.bytes().all(is_region_byte) {
            return Err(RegionError::Character);
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<String> for RegionId {
    type Error = RegionError;

    fn try_from(name: String) -> Result<Self, RegionError> {
        name.parse()
    }
}

/// Why a text is not a region name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// It is empty.
    #[error("a region name must not be empty")]
    Empty,
    /// It is longer than 32 bytes.
    #[error("a region name has at most {LENGTH_MAX} characters")]
    TooLong,
    /// It is the name of the primary node.
    #[error("`{RESERVED}` names the primary node and cannot name a region")]
    Reserved,
    /// It contains a character that region names cannot have.
    #[error("a region name is lower-case letters, digits and hyphens, and starts with a letter")]
    Character,
}

fn is_region_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_region_names_are_accepted() {
        for name in ["us-east-1", "ap-southeast-1", "us-gov-west-1", "x"] {
            assert_eq!(name.parse::<RegionId>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_reason() {
        let long = "a".repeat(LENGTH_MAX + 1);
        let cases = [
            ("", RegionError::Empty),
            (long.as_str(), RegionError::TooLong),
            ("primary", RegionError::Reserved),
            ("1-east", RegionError::Character),
            ("-east", RegionError::Character),
            ("US-EAST-1", RegionError::Character),
            ("us_east_1", RegionError::Character),
            ("us east", RegionError::Character),
            ("zürich", RegionError::Character),
        ];
        for (name, reason) in cases {
            assert_eq!(name.parse::<RegionId>(), Err(reason), "{name:?}");
        }
    }

    #[test]
    fn a_name_of_the_greatest_length_is_accepted() {
        assert!("a".repeat(LENGTH_MAX).parse::<RegionId>().is_ok());
    }

    #[test]
    fn configuration_goes_through_the_same_check() {
        assert!(serde_json::from_str::<RegionId>("\"eu-west-1\"").is_ok());
        assert!(serde_json::from_str::<RegionId>("\"EU\"").is_err());
    }
}
