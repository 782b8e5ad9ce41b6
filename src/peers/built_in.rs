//! The traffic policy of a fleet without a file.

use tidegate_model::RegionId;

use super::settings::Peer;
use crate::regions::PolicyFile;

/// Its name where a file's is shown.
pub const BUILT_IN: &str = "built-in";

/// When regions leave and return, where no policy says so.
const DEFAULTS: &str = "defaults {
  leave when errors > 2% or p99 > 400ms or lag > 5s for 2s
  return when errors < 0.5% and p99 < 250ms for 60s ramp 5m
  retry idempotent 1 budget 20%
  panic below 50%
  else 503
}
";

/// The policy: here while this region is well, else in the nearest. None if it cannot be made of these
/// regions: there are more than 64, or a name is a word of the language.
#[must_use]
pub fn built_in_policy(region: &RegionId, peers: &[Peer]) -> Option<PolicyFile> {
    let peers = peers.iter().map(|peer| peer.region.as_str());
    let mut others: Vec<_> = peers.filter(|it| *it != region.as_str()).collect();
    // Several entries of a region are several of its gateways.
    let mut seen = std::collections::HashSet::new();
    others.retain(|it| seen.insert(*it));
    let names = std::iter::once(region.as_str()).chain(others.iter().copied());
    let declared: String = names.map(|name| format!("region {name}\n")).collect();
    let policy = |tiers: String| {
        let text = format!("{declared}{DEFAULTS}policy everything {{ prefer {tiers} }}\n");
        PolicyFile::of(BUILT_IN, text.as_bytes()).ok()
    };
    let nearest = match others.is_empty() {
        true => "local".to_owned(),
        false => format!("local | nearest({})", others.join(", ")),
    };
    // Where a region's place is not known, there is no nearest: the order of the list counts.
    let listed = || std::iter::once("local").chain(others.iter().copied());
    let listed = || listed().collect::<Vec<_>>().join(" | ");
    let policy = policy(nearest).or_else(|| policy(listed()))?;
    // Warnings are for authors of files.
    Some(PolicyFile {
        warnings: String::new(),
        ..policy
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(peers: &[&str]) -> Option<PolicyFile> {
        let peer = |name: &&str| Peer {
            region: name.parse().unwrap(),
            address: String::new(),
        };
        let peers: Vec<_> = peers.iter().map(peer).collect();
        built_in_policy(&"eu-west-1".parse().unwrap(), &peers)
    }

    #[test]
    fn this_region_comes_first_and_then_the_nearest_or_the_listed_one() {
        let text = |peers: &[&str]| policy(peers).unwrap().text;
        assert!(text(&["us-east-1", "eu-west-1"]).contains("prefer local | nearest(us-east-1) }"));
        let twice = text(&["us-east-1", "us-east-1"]);
        assert!(
            twice.contains("prefer local | nearest(us-east-1) }"),
            "{twice}"
        );
        assert!(text(&["here", "there"]).contains("prefer local | here | there }"));
        assert!(text(&[]).contains("prefer local }"));
        assert!(policy(&["policy"]).is_none());
    }
}
