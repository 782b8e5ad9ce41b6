//! Where a request goes when the chosen region cannot be reached.

use super::{head, in_force, region};
use crate::regions::{Reaches, RegionRoute, TrafficPlans};
use tidegate_model::RegionId;
use tidegate_traffic::decide::RegionReason;

/// Reaches one other region.
struct One {
    region: RegionId,
    has_fleet: bool,
}

impl Reaches for One {
    fn has_node_in(&self, region: &RegionId) -> bool {
        *region == self.region
    }

    fn has_fleet(&self) -> bool {
        self.has_fleet
    }
}

fn decided(tiers: &str, reaches: &One) -> RegionRoute {
    let text = format!(
        "region us-east-1\nregion eu-west-1\nregion ap-southeast-1\npolicy p {{ prefer {tiers}\n else local }}\n"
    );
    let plans = TrafficPlans {
        in_force: Some(in_force(&text, None, Vec::new())),
        ..TrafficPlans::default()
    };
    let route = RegionRoute::decide(&plans, &head("203.0.113.9", &[]), "/x", reaches);
    route.unwrap().unwrap()
}

#[tokio::test]
async fn without_a_tunnel_to_the_chosen_region_the_next_one_that_is_reached_serves() {
    let mut reaches = One {
        region: region("ap-southeast-1"),
        has_fleet: true,
    };
    let tiers = "us-east-1 | ap-southeast-1 | local";
    let route = decided(tiers, &reaches);
    let all = ["us-east-1", "ap-southeast-1", "eu-west-1"].map(region);
    assert_eq!(route.order(), all);
    assert_eq!(route.routed.region, Some(region("ap-southeast-1")));
    assert_eq!(route.routed.reason, RegionReason::NoTunnel);
    // None is reached but this one.
    let far = decided("us-east-1 | local", &reaches);
    assert_eq!(far.routed.region, Some(region("eu-west-1")));
    // Without a fleet there is no tunnel to hand it to.
    reaches.has_fleet = false;
    let route = decided(tiers, &reaches);
    assert_eq!(route.routed.region, Some(region("eu-west-1")));
}
