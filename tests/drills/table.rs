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
    show(&mut rows, lost_replica::killed(Full).await);
    show(&mut rows, lost_replica::frozen(Full).await);
    show(&mut rows, taken_over(Full, Fault::Killed, FAR, 200).await);
    show(
        &mut rows,
        taken_over(Full, Fault::Killed, FARTHEST, 200).await,
    );
    show(&mut rows, taken_over(Full, Fault::Killed, FAR, 1_000).await);
    show(
        &mut rows,
        taken_over(Full, Fault::Killed, FARTHEST, 1_000).await,
    );
    show(&mut rows, taken_over(Full, Fault::Frozen, FAR, 200).await);
    show(
        &mut rows,
        taken_over(Full, Fault::Frozen, FARTHEST, 200).await,
    );
    show(&mut rows, taken_over(Full, Fault::Frozen, FAR, 1_000).await);
    show(
        &mut rows,
        taken_over(Full, Fault::Frozen, FARTHEST, 1_000).await,
    );
    show(&mut rows, unsteady_replica::black_holed(Full).await);
    show(&mut rows, unsteady_replica::alternating(Full).await);
    show(&mut rows, late_replica::by_seconds(Full).await);
    show(&mut rows, spill::only_the_primary(Full).await);
    show(&mut rows, down_and_up::everything(Full).await);
    show(&mut rows, decision::everywhere(Full).await);
    show(&mut rows, rollout_arrival::everywhere(Full).await);
    show(&mut rows, rollout_faults::in_each_stage(Full).await);
    judge(&rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=rollouts"]
async fn rollouts_drills_at_full_length() {
    let mut rows = Vec::new();
    show(&mut rows, rollout_arrival::everywhere(Full).await);
    show(&mut rows, rollout_faults::in_each_stage(Full).await);
    judge(&rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=storage"]
async fn storage_drills_at_full_length() {
    let mut rows = Vec::new();
    show(&mut rows, storage::fastest_frozen(Full).await);
    show(&mut rows, storage::quota_breached(Full).await);
    show(&mut rows, storage::killed_in_a_body(Full).await);
    show(&mut rows, storage::gateways_killed().await);
    show(&mut rows, storage_drain::drained_while_killed(Full).await);
    show(&mut rows, storage_year::year_of_statistics(Full).await);
    judge(&rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=storage_moves"]
async fn storage_moves_drills_at_full_length() {
    let mut rows = Vec::new();
    show(&mut rows, storage_moves::imported_twice(Full).await);
    show(&mut rows, storage_moves::mirrored_while_killed(Full).await);
    judge(&rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make drill ONLY=own_writes"]
async fn own_writes_drills_at_full_length() {
    if let Some(row) = own_writes::through_two_gateways(Full).await {
        println!("{row}");
        row.verdict();
    }
}

/// Prints a row as soon as it is there: all of them take long.
#[expect(clippy::print_stdout, reason = "the table is what the drills are for")]
fn show(rows: &mut Vec<Row>, row: Row) {
    println!("{row}");
    rows.push(row);
}

fn judge(rows: &[Row]) {
    for row in rows {
        row.verdict();
    }
}
