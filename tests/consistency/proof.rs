//! Tests that the checker finds violations: worlds with one broken component each, and the promises
//! that must be found broken there.

use super::edge::Edge;
use super::fault::Fault;
use super::judge::Guarantee;
use super::registers::Statements;
use super::run::Run;

/// Rounds within which a violation must be found.
const ROUNDS_MAX: usize = 5;

/// Runs a world under a fault, and asserts that at least these promises are found broken.
async fn assert_caught(
    (statements, edge): (Statements, Edge),
    fault: Fault,
    expected: &[Guarantee],
) {
    let mut run = Run::start(statements, edge, 1).await;
    for _ in 0..ROUNDS_MAX {
        run.round(Some(fault)).await;
        let broken = run.report.broken();
        if expected.iter().all(|it| broken.contains(it)) {
            return;
        }
    }
    panic!("expected {expected:?}: {}", run.report);
}

async fn assert_statements_caught(statements: Statements, expected: &[Guarantee]) {
    let world = (statements, Edge::Transparent);
    assert_caught(world, Fault::ReplayPaused, expected).await;
}

async fn assert_edge_caught(edge: Edge, fault: Fault, expected: &[Guarantee]) {
    assert_caught((Statements::Honest, edge), fault, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_behind_and_does_not_know_it_is_caught() {
    let expected = [
        Guarantee::Linearizable,
        Guarantee::ReadYourWrites,
        Guarantee::MonotonicReads,
        Guarantee::WithinBound,
        Guarantee::HonestStaleness,
    ];
    assert_statements_caught(Statements::Behind, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_makes_values_up_is_caught() {
    assert_statements_caught(Statements::Invented, &[Guarantee::WrittenValues]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_puts_a_write_before_earlier_ones_is_caught() {
    let expected = [
        Guarantee::MonotonicWrites,
        Guarantee::WritesFollowReads,
        Guarantee::WrittenOnce,
    ];
    assert_statements_caught(Statements::Disordered, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_forgets_what_it_acknowledged_is_caught() {
    let expected = [Guarantee::Linearizable, Guarantee::Durable];
    assert_statements_caught(Statements::Forgotten, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_loses_the_level_is_caught() {
    let expected = [
        Guarantee::Linearizable,
        Guarantee::LevelKept,
        Guarantee::WithinBound,
        Guarantee::ClaimWithinBound,
    ];
    assert_edge_caught(Edge::DropsLevels, Fault::ReplayPaused, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_loses_the_token_is_caught() {
    let expected = [Guarantee::ReadYourWrites, Guarantee::MonotonicReads];
    assert_edge_caught(Edge::DropsTokens, Fault::ReplayPaused, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_sends_a_write_again_is_caught() {
    let expected = [Guarantee::WrittenOnce];
    assert_edge_caught(Edge::RepeatsWrites, Fault::ReplayPaused, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_says_all_is_fresh_is_caught() {
    let expected = [Guarantee::HonestStaleness];
    assert_edge_caught(Edge::ClaimsFreshness, Fault::ReplayPaused, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_keeps_a_loss_to_itself_is_caught() {
    let expected = [Guarantee::LossTold];
    assert_edge_caught(Edge::HidesLosses, Fault::PromotedWithLoss, &expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_tells_of_losses_that_were_none_is_caught() {
    let expected = [Guarantee::LossReal];
    assert_edge_caught(Edge::MakesUpLosses, Fault::PromotedWithoutLoss, &expected).await;
}

/// The former primary can be distinguished from the current one only through the other gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_primary_that_goes_on_is_caught() {
    let expected = [Guarantee::OnePrimary];
    assert_edge_caught(Edge::MergesGateways, Fault::PromotedBeside, &expected).await;
}
