//! What a repository does with its members.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidegate_model::Consistency;

use super::mirror::Mirror;

/// Copies of an object at most.
const COPIES_MAX: usize = 8;

/// The longest latency objective of reads.
const READ_SLO_MAX: Duration = Duration::from_secs(60);

/// Reads a latency objective of reads; returns milliseconds.
///
/// # Errors
/// Says what is expected.
pub fn read_slo_ms(text: &str) -> Result<u64, &'static str> {
    let expected = "expected a duration from 1ms to 60s, such as `50ms`";
    let time = humantime::parse_duration(text).map_err(|_unreadable| expected)?;
    match u64::try_from(time.as_millis()) {
        Ok(milliseconds @ 1..) if time <= READ_SLO_MAX => Ok(milliseconds),
        _ => Err(expected),
    }
}

/// Which member gets a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WritePolicy {
    /// The first one under its soft cap.
    #[default]
    Credit,
    /// The fastest healthy one.
    Nearest,
    /// So many of them.
    Copies(usize),
}

impl WritePolicy {
    /// Returns how many members have the bytes when a write is answered.
    #[must_use]
    pub fn copies(self) -> usize {
        match self {
            Self::Credit | Self::Nearest => 1,
            Self::Copies(copies) => copies,
        }
    }
}

impl fmt::Display for WritePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credit => f.write_str("credit"),
            Self::Nearest => f.write_str("nearest"),
            Self::Copies(copies) => write!(f, "copies:{copies}"),
        }
    }
}

impl FromStr for WritePolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected credit, nearest or copies:N with N from 1 to 8";
        let copies = || text.strip_prefix("copies:")?.parse().ok();
        match text {
            "credit" => Ok(Self::Credit),
            "nearest" => Ok(Self::Nearest),
            _ => match copies() {
                Some(copies @ 1..=COPIES_MAX) => Ok(Self::Copies(copies)),
                _ => Err(expected),
            },
        }
    }
}

impl Serialize for WritePolicy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WritePolicy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Which copy is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadPolicy {
    /// The fastest.
    #[default]
    Fastest,
    /// That of the first member.
    Order,
}

impl FromStr for ReadPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fastest" => Ok(Self::Fastest),
            "order" => Ok(Self::Order),
            _ => Err("expected fastest or order"),
        }
    }
}

/// A write policy for the keys below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the keys begin with.
    pub prefix: String,
    /// The policy for them.
    pub write: WritePolicy,
    /// The only members for them, by name; all if it is empty.
    #[serde(default)]
    pub members: Vec<String>,
}

/// A repository's policy, as its row has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryPolicy {
    /// Which member gets a write.
    pub write: WritePolicy,
    /// Which copy is read.
    pub read: ReadPolicy,
    /// The level of reads that state none: `strong`, `session` or `eventual`.
    pub consistency: DefaultLevel,
    /// Whether a GET is answered with the member's own URL.
    pub redirect: bool,
    /// A member whose p95 to the first byte is over it is asked last, in milliseconds.
    pub read_slo_ms: Option<u64>,
    /// Where its objects are copied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Exceptions to `write`.
    pub rules: Vec<Rule>,
}

impl RepositoryPolicy {
    /// Returns the write policy for a key and the only members for it: those of the longest prefix.
    #[must_use]
    pub fn for_key(&self, key: &str) -> (WritePolicy, &[String]) {
        let rules = self
            .rules
            .iter()
            .filter(|rule| key.starts_with(&rule.prefix));
        match rules.max_by_key(|rule| rule.prefix.len()) {
            Some(rule) => (rule.write, &rule.members),
            None => (self.write, &[]),
        }
    }

    /// Whether there are as many members as have to have a copy.
    ///
    /// # Errors
    /// Says what would be right.
    pub(super) fn suits(&self, members: &[String]) -> Result<(), String> {
        enough("write", self.write, members)?;
        for rule in &self.rules {
            let named = match rule.members.is_empty() {
                true => members,
                false => &rule.members,
            };
            enough("rules", rule.write, named)?;
        }
        Ok(())
    }

    /// Returns `read_slo`.
    #[must_use]
    pub fn read_slo(&self) -> Option<Duration> {
        self.read_slo_ms.map(Duration::from_millis)
    }
}

fn enough(field: &str, write: WritePolicy, members: &[String]) -> Result<(), String> {
    let there: HashSet<_> = members.iter().collect();
    let (wanted, there) = (write.copies(), there.len());
    match wanted > there {
        false => Ok(()),
        true => Err(format!(
            "{field}: {write} needs {wanted} members, not {there}: name more, or say copies:{there}"
        )),
    }
}

/// The level of reads that state none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultLevel {
    /// As S3 promises.
    #[default]
    Strong,
    /// Nothing older than the client's token.
    Session,
    /// Any committed state.
    Eventual,
}

impl DefaultLevel {
    /// Returns what a read is owed.
    #[must_use]
    pub fn consistency(self) -> Consistency {
        match self {
            Self::Strong => Consistency::STRONG,
            Self::Session => Consistency::SESSION,
            Self::Eventual => Consistency::EVENTUAL,
        }
    }
}

impl FromStr for DefaultLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "strong" => Ok(Self::Strong),
            "session" => Ok(Self::Session),
            "eventual" => Ok(Self::Eventual),
            _ => Err("expected strong, session or eventual"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        let rule = |prefix: &str, write| Rule {
            prefix: prefix.to_owned(),
            write,
            members: vec![prefix.to_owned()],
        };
        let policy = RepositoryPolicy {
            rules: vec![
                rule("logs/", WritePolicy::Nearest),
                rule("logs/audit/", WritePolicy::Copies(2)),
            ],
            ..RepositoryPolicy::default()
        };
        assert_eq!(policy.for_key("logs/audit/1").0, WritePolicy::Copies(2));
        assert_eq!(policy.for_key("logs/1").1, ["logs/"]);
        assert_eq!(policy.for_key("x"), (WritePolicy::Credit, &[][..]));
    }

    #[test]
    fn more_copies_than_members_are_refused_with_what_would_be_right() {
        let members = ["a", "b"].map(str::to_owned);
        let rule = |write, members: &[&str]| Rule {
            prefix: "logs/".to_owned(),
            write,
            members: members.iter().map(|&it| it.to_owned()).collect(),
        };
        let suits = |write, rules| {
            let policy = RepositoryPolicy {
                write,
                rules,
                ..RepositoryPolicy::default()
            };
            policy.suits(&members)
        };
        let two = WritePolicy::Copies(2);
        assert_eq!(
            suits(two, vec![rule(two, &[]), rule(two, &["a", "b"])]),
            Ok(())
        );
        let refused = suits(WritePolicy::Copies(3), Vec::new()).unwrap_err();
        assert!(
            refused.starts_with("write: copies:3 needs 3 members"),
            "{refused}"
        );
        assert!(refused.ends_with("or say copies:2"), "{refused}");
        for members in [&["a"][..], &["a", "a"]] {
            let refused = suits(WritePolicy::Credit, vec![rule(two, members)]).unwrap_err();
            assert!(refused.starts_with("rules: copies:2"), "{refused}");
        }
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let json = r#"{"write":"copies:2","read":"order","consistency":"session","redirect":true,
                       "readSloMs":50,"rules":[{"prefix":"a","write":"nearest"}]}"#;
        let policy: RepositoryPolicy = serde_json::from_str(json).unwrap();
        let again = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            serde_json::from_str::<RepositoryPolicy>(&again).unwrap(),
            policy
        );
        assert_eq!(policy.write.copies(), 2);
        for wrong in ["copies:0", "copies:9", "copies:", "all"] {
            assert!(wrong.parse::<WritePolicy>().is_err(), "{wrong}");
        }
    }
}
