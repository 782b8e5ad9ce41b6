//! The name of a node: the configured primary, or the configured replica of a region.

use std::fmt;

use crate::RegionId;

/// Names one PostgreSQL server that the gateway can route to, by its place in the configuration.
/// Which server takes the writes is a separate question: it changes with every promotion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// The server that `DATABASE_URL` names.
    Primary,
    /// The server that a region's read replica URL names.
    Replica(RegionId),
}

impl NodeId {
    /// Returns the label of logs and metrics: `primary`, or the replica's region.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Primary => "primary",
            Self::Replica(region) => region.as_str(),
        }
    }

    /// Returns whether this is the server that `DATABASE_URL` names.
    pub fn is_configured_primary(&self) -> bool {
        matches!(self, Self::Primary)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_called_by_its_region() {
        let replica = NodeId::Replica("eu-west-1".parse().unwrap());
        assert_eq!(replica.to_string(), "eu-west-1");
        assert_eq!(NodeId::Primary.to_string(), "primary");
    }

    #[test]
    fn no_replica_can_be_mistaken_for_the_primary() {
        assert!(NodeId::Primary.as_str().parse::<RegionId>().is_err());
    }
}
