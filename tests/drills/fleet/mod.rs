//! The drills of the fleet: regions that fail, slow down, flap and fall silent, through real gateways.
//!
//! A region that is killed, black-holed or flaps, and self-suspicion, run at full length only: `handing_on` and
//! the simulation of `tidegate-fleet` have short forms of them.

mod scene;
mod grey_region;
mod local_nodes;
mod lost_region;
mod no_primary;
mod one_way;
mod rolling_restart;
mod silent_regions;
mod slow_database;

use super::drill::{Length, Row};

/// The table of all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make drill"]
async fn fleet_drills_at_full_length() {
    let length = Length::Full;
    let mut rows = Vec::new();
    let mut show = |row: Row| {
        println!("{row}");
        rows.push(row);
    };
    show(local_nodes::lost(length).await);
    show(lost_region::killed(length).await);
    show(lost_region::black_holed(length).await);
    show(lost_region::flapping(length).await);
    show(grey_region::slow(length).await);
    show(no_primary::nowhere(length).await);
    show(silent_regions::three_of_four(length).await);
    show(one_way::packets_lost(length).await);
    show(one_way::connecting_refused(length).await);
    show(rolling_restart::of_all(length).await);
    for row in &rows {
        row.verdict();
    }
}
