//! All drills at full length, as a table: `make drill`.

use super::drill::Length::Full;
use super::far_standby::{FAR, FARTHEST, Fault, taken_over};
use super::{decision, down_and_up, late_replica, lost_replica, spill, unsteady_replica};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make drill"]
async fn all_drills_at_full_length() {
    let rows = [
        lost_replica::killed(Full).await,
        lost_replica::frozen(Full).await,
        taken_over(Full, Fault::Killed, FAR, 200).await,
        taken_over(Full, Fault::Killed, FARTHEST, 200).await,
        taken_over(Full, Fault::Killed, FAR, 1_000).await,
        taken_over(Full, Fault::Killed, FARTHEST, 1_000).await,
        taken_over(Full, Fault::Frozen, FAR, 200).await,
        taken_over(Full, Fault::Frozen, FARTHEST, 200).await,
        taken_over(Full, Fault::Frozen, FAR, 1_000).await,
        taken_over(Full, Fault::Frozen, FARTHEST, 1_000).await,
        unsteady_replica::black_holed(Full).await,
        unsteady_replica::alternating(Full).await,
        late_replica::by_seconds(Full).await,
        spill::only_the_primary(Full).await,
        down_and_up::everything(Full).await,
        decision::everywhere(Full).await,
    ];
    for row in &rows {
        println!("{row}");
    }
    for row in &rows {
        row.verdict();
    }
}
