//! What a repository's cold mirror is: pure.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longer than anything that is meant; PostgreSQL computes with it.
const LONGEST: Duration = Duration::from_secs(3660 * 24 * 3600);
/// A mirror that is read back all the time would cost more than it proves.
const VERIFY_MIN: Duration = Duration::from_secs(1);

/// Where the objects of a repository are copied to, and how it is proven that they can be restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// The bucket, by name; it is not a member.
    pub to: String,
    /// How old a version is when it is copied.
    #[serde(default = "hour", with = "text")]
    pub after: Duration,
    /// How often a sample is read back.
    #[serde(default = "week", with = "text")]
    pub verify: Duration,
    /// The share of the copies in a sample, over 0 to 1.
    #[serde(default = "percent", deserialize_with = "share")]
    pub share: f64,
    /// Whether the copies at the members stay; else they are deleted when the mirror's was read back.
    #[serde(default = "yes", alias = "keep_hot")]
    pub keep_hot: bool,
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

fn week() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

fn percent() -> f64 {
    0.01
}

fn yes() -> bool {
    true
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match f64::deserialize(from)? {
        share if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(de::Error::custom("share: expected over 0 and at most 1")),
    }
}

impl Mirror {
    /// Whether it can be used with these members.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(super) fn suits(&self, members: &[String]) -> Result<(), String> {
        if members.contains(&self.to) {
            return Err(format!("mirror: `{}` is a member", self.to));
        }
        if self.verify < VERIFY_MIN {
            return Err("mirror: verify is one second at least".to_owned());
        }
        Ok(())
    }
}

/// Durations as people write them; stored in a form that PostgreSQL reads too.
mod text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        match duration.subsec_millis() {
            0 => to.collect_str(&format_args!("{}s", duration.as_secs())),
            _ => to.collect_str(&format_args!("{}ms", duration.as_millis())),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let given = String::deserialize(from)?;
        match humantime::parse_duration(&given) {
            Ok(duration) if duration <= LONGEST => Ok(duration),
            Ok(_) => Err(de::Error::custom("expected ten years at most")),
            Err(error) => Err(de::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_defaults_and_is_stored_in_units_of_postgresql() {
        let mirror: Mirror = serde_json::from_str(r#"{"to": "cold"}"#).unwrap();
        let stored = serde_json::to_string(&mirror).unwrap();
        assert_eq!(
            stored,
            r#"{"to":"cold","after":"3600s","verify":"604800s","share":0.01,"keepHot":true}"#
        );
        assert_eq!(serde_json::from_str::<Mirror>(&stored).unwrap(), mirror);
        let given = r#"{"to": "cold", "after": "1500ms", "keep_hot": false}"#;
        let mirror: Mirror = serde_json::from_str(given).unwrap();
        assert!(!mirror.keep_hot && mirror.after == Duration::from_millis(1500));
        assert!(
            serde_json::to_string(&mirror)
                .unwrap()
                .contains("\"1500ms\"")
        );
    }

    #[test]
    fn a_mirror_that_is_impossible_is_refused() {
        for wrong in [
            "{}",
            r#"{"to": "cold", "share": 0}"#,
            r#"{"to": "cold", "share": 1.1}"#,
            r#"{"to": "cold", "after": "soon"}"#,
            r#"{"to": "cold", "after": "20years"}"#,
            r#"{"to": "cold", "keep": true}"#,
        ] {
            assert!(serde_json::from_str::<Mirror>(wrong).is_err(), "{wrong}");
        }
        let mirror: Mirror = serde_json::from_str(r#"{"to": "cold", "verify": "0s"}"#).unwrap();
        assert!(mirror.suits(&[]).is_err());
        let mirror: Mirror = serde_json::from_str(r#"{"to": "cold"}"#).unwrap();
        assert!(mirror.suits(&["cold".to_owned()]).is_err());
        assert_eq!(mirror.suits(&["hot".to_owned()]), Ok(()));
    }
}
