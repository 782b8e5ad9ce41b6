//! Two gateways as a fleet, on loopback: what handing a request on costs, what steering adds when a region
//! fails or too much arrives, and what health costs on the wire. Needs no database.

mod hand_on;
mod pair;
mod paced;
mod steering;
mod watch;

use anyhow::Result;

use super::contest::Pace;
use super::report::{Report, say};

pub(crate) async fn measure(pace: &Pace, report: &mut Report) -> Result<()> {
    say("handing on, two gateways on loopback, all cores shared");
    hand_on::measure(pace, report).await?;
    say("steering: a failover, and a burst of twice the capacity");
    steering::measure(report).await?;
    say("the bytes of Watch, and how fast a change arrives");
    watch::measure(report).await
}
