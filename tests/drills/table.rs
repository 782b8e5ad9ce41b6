//! All drills at full length, as a table: `make drill`.

use super::drill::Length::Full;
use super::drill::Row;
use super::far_standby::{FAR, FARTHEST, Fault, taken_over};
use super::{
    decision, down_and_up, late_replica, lost_replica, own_writes, spill, storage, storage_drain,
    storage_moves, storage_year, unsteady_replica,
};
use super::{rollout_arrival, rollout_faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make drill"]
async fn all_drills_at_full_length() {
    let mut rows = Vec::new();
    let mut show = |row: Row| {
        println!("{row}");
        rows.push(row);
    };
    show(lost_replica::killed(Full).await);
    show(lost_replica::frozen(Full).await);
    show(taken_over(Full, Fault::Killed, FAR, 200).await);
    show(taken_over(Full, Fault::Killed, FARTHEST, 200).await);
    show(taken_over(Full, Fault::Killed, FAR, 1_000).await);
    show(taken_over(Full, Fault::Killed, FARTHEST, 1_000).await);
    show(taken_over(Full, Fault::Frozen, FAR, 200).await);
    show(taken_over(Full, Fault::Frozen, FARTHEST, 200).await);
    show(taken_over(Full, Fault::Frozen, FAR, 1_000).await);
    show(taken_over(Full, Fault::Frozen, FARTHEST, 1_000).await);
    show(unsteady_replica::black_holed(Full).await);
    show(unsteady_replica::alternating(Full).await);
    show(late_replica::by_seconds(Full).await);
    show(spill::only_the_primary(Full).await);
    show(down_and_up::everything(Full).await);
    show(decision::everywhere(Full).await);
    show(rollout_arrival::everywhere(Full).await);
    show(rollout_faults::in_each_stage(Full).await);
    for row in &rows {
        row.verdict();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=rollouts"]
async fn rollouts_drills_at_full_length() {
    let rows = [
        rollout_arrival::everywhere(Full).await,
        rollout_faults::in_each_stage(Full).await,
    ];
    for row in &rows {
        println!("{row}");
    }
    for row in &rows {
        row.verdict();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=storage"]
async fn storage_drills_at_full_length() {
    let rows = [
        storage::fastest_frozen(Full).await,
        storage::quota_breached(Full).await,
        storage::killed_in_a_body(Full).await,
        storage::gateways_killed().await,
        storage_moves::mirrored_while_killed(Full).await,
        storage_drain::drained_while_killed(Full).await,
        storage_moves::imported_twice(Full).await,
        storage_year::year_of_statistics(Full).await,
    ];
    for row in &rows {
        println!("{row}");
    }
    for row in &rows {
        row.verdict();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=own_writes"]
async fn own_writes_drills_at_full_length() {
    if let Some(row) = own_writes::through_two_gateways(Full).await {
        println!("{row}");
        row.verdict();
    }
}
