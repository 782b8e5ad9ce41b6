//! Times answers by level and by where they come from; each histogram handle is created once.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Histogram;

use super::account::{AccountView, NodeRole};
use super::cache_status::{CacheResult, CacheStatus};
use tidegate_model::{Level, RegionId};
use tidegate_telemetry::names;

/// Where an answer comes from: the values of the label `served`.
const MEMORY: (usize, &str) = (0, "memory");
const LOCAL: (usize, &str) = (1, "local");
const ELSEWHERE: (usize, &str) = (2, "elsewhere");

/// A histogram per level and place.
#[derive(Default)]
pub struct LevelTimes([[OnceLock<Histogram>; 3]; Level::ALL.len()]);

impl LevelTimes {
    /// Records an answer of a node or from memory; an error of the gateway's own is none.
    pub(super) fn add(&self, own: &RegionId, account: &AccountView<'_>, took: Duration) {
        let (Some(level), Some((index, served))) = (account.level(), served_from(own, account))
        else {
            return;
        };
        let histogram = self.0[level as usize][index].get_or_init(|| {
            let labels = [("level", level.as_str()), ("served", served)];
            metrics::histogram!(names::LEVEL_DURATION, &labels)
        });
        histogram.record(took.as_secs_f64());
    }
}

fn served_from(own: &RegionId, account: &AccountView<'_>) -> Option<(usize, &'static str)> {
    match account.cache.map(CacheStatus::result) {
        Some(CacheResult::Hit | CacheResult::Stale | CacheResult::StaleIfError) => {
            return Some(MEMORY);
        }
        Some(
            CacheResult::Revalidated
            | CacheResult::Miss
            | CacheResult::Collapsed
            | CacheResult::Bypass,
        )
        | None => {}
    }
    if account.handed_on || account.fetched_from().is_some() {
        return Some(ELSEWHERE);
    }
    let served = account.served?;
    let is_local = match &served.region {
        Some(region) => region == own,
        // An application without a region is beside the gateway; a database node may be anywhere.
        None => served.role == NodeRole::Upstream,
    };
    Some(if is_local { LOCAL } else { ELSEWHERE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::account::Served;

    #[test]
    fn a_database_node_without_a_region_is_elsewhere_and_an_application_without_one_local() {
        let own: RegionId = "eu-west-1".parse().unwrap();
        let place = |region: Option<&str>, role, handed_on| {
            let served = Served {
                node: "node".into(),
                region: region.map(|it| it.parse().unwrap()),
                gateway: None,
                role,
                upstream: None,
                reason: None,
                staleness: None,
            };
            let account = AccountView {
                served: Some(&served),
                handed_on,
                ..AccountView::default()
            };
            served_from(&own, &account).map(|(_, place)| place)
        };
        let (primary, replica, upstream) =
            (NodeRole::Primary, NodeRole::Replica, NodeRole::Upstream);
        assert_eq!(place(None, primary, false), Some("elsewhere"));
        assert_eq!(place(None, replica, false), Some("elsewhere"));
        assert_eq!(place(None, upstream, false), Some("local"));
        assert_eq!(place(Some("eu-west-1"), replica, false), Some("local"));
        assert_eq!(place(Some("us-east-1"), primary, false), Some("elsewhere"));
        assert_eq!(place(Some("eu-west-1"), upstream, true), Some("elsewhere"));
        assert_eq!(served_from(&own, &AccountView::default()), None);
    }

    #[test]
    fn what_was_fetched_from_another_gateway_is_elsewhere_until_it_comes_from_memory() {
        let own: RegionId = "eu-west-1".parse().unwrap();
        let served = Served {
            node: "us-east-1".into(),
            region: None,
            gateway: Some("us-east-1".parse().unwrap()),
            role: NodeRole::Upstream,
            upstream: None,
            reason: None,
            staleness: None,
        };
        let place = |cache| {
            let account = AccountView {
                served: Some(&served),
                cache: Some(cache),
                ..AccountView::default()
            };
            served_from(&own, &account).map(|(_, place)| place)
        };
        for result in [CacheResult::Miss, CacheResult::Collapsed] {
            let fetched = CacheStatus::Forwarded {
                result,
                had_stale: false,
                stored: true,
            };
            assert_eq!(place(fetched), Some("elsewhere"));
        }
        let result = CacheResult::Hit;
        let hit = CacheStatus::Stored { result, ttl: 1 };
        assert_eq!(place(hit), Some("memory"));
    }
}
