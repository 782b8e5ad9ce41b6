//! The faults, each for real.

use std::time::Duration;

use fastrand::Rng;
use tidegate::testkit::Shutdown;

use super::arena::{Arena, GATEWAYS, LINES, Whose};
use super::client::Round;
use super::history::Promotion;
use super::promotion;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    ReplayPaused,
    ReplayDelayed,
    StreamCut,
    ReceiverFrozen,
    ReplicaFrozen,
    ReplicaRestarted,
    PrimaryRestarted,
    GatewayKilled,
    LineDelayed,
    LineBlackHoled,
    LineCut,
    ClockJumped,
    /// The primary is killed and a replica promoted that has everything.
    PromotedWithoutLoss,
    /// The primary is killed and a replica promoted that lacks acknowledged writes.
    PromotedWithLoss,
    /// A replica is promoted, and the primary continues for a gateway that sees no other server.
    /// The operator of the databases must prevent this, so it only tests the judge.
    PromotedBeside,
}

impl Fault {
    /// The faults under which every promise is kept.
    pub(super) const ALL: [Self; 14] = [
        Self::ReplayPaused,
        Self::ReplayDelayed,
        Self::StreamCut,
        Self::ReceiverFrozen,
        Self::ReplicaFrozen,
        Self::ReplicaRestarted,
        Self::PrimaryRestarted,
        Self::GatewayKilled,
        Self::LineDelayed,
        Self::LineBlackHoled,
        Self::LineCut,
        Self::ClockJumped,
        Self::PromotedWithoutLoss,
        Self::PromotedWithLoss,
    ];
}

/// A fault at a place: a region, and one of its gateway's lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) fault: Fault,
    pub(super) region: usize,
    line: usize,
    whose_clock: Whose,
    /// How far that clock jumps, in seconds; then it jumps back.
    jump: i64,
    /// Whether `DATABASE_URL` leads to a promoted replica at once, or to the dead primary for as
    /// long as the fault lasts.
    pub(super) url_follows: bool,
    /// Whether a promotion that loses something finds the other replica ahead of the promoted one.
    pub(super) other_is_ahead: bool,
}

/// From less than a bound to more than the timeouts of replication.
const JUMPS: [i64; 6] = [-86_400, -100, -3, 3, 100, 7_200];

impl Placed {
    pub(super) fn somewhere(fault: Fault, rng: &mut Rng) -> Self {
        let region = rng.usize(..GATEWAYS);
        let clocks = [
            Whose::Primary,
            Whose::Replica(region),
            Whose::Gateway(region),
        ];
        Self {
            fault,
            region,
            line: rng.usize(..LINES),
            whose_clock: clocks[rng.usize(..clocks.len())],
            jump: JUMPS[rng.usize(..JUMPS.len())],
            url_follows: rng.bool(),
            other_is_ahead: rng.bool(),
        }
    }

    /// Returns the promotion if the fault is one.
    pub(super) async fn begin(self, arena: &mut Arena, round: &Round) -> Option<Promotion> {
        let line = &arena.posts[self.region].lines[self.line];
        let replica = &mut arena.cluster.replicas[self.region];
        match self.fault {
            Fault::ReplayPaused => replica.pause_replay().await.unwrap(),
            Fault::ReplayDelayed => {
                let delay = ("recovery_min_apply_delay", "700ms");
                replica.set(delay.0, delay.1).await.unwrap();
            }
            Fault::StreamCut => replica.cut_stream().await.unwrap(),
            Fault::ReceiverFrozen => replica.freeze_receiver().await.unwrap(),
            Fault::ReplicaFrozen => replica.freeze().unwrap(),
            Fault::ReplicaRestarted => replica.stop(Shutdown::Immediate).await.unwrap(),
            Fault::PrimaryRestarted => {
                let primary = &mut arena.cluster.primary;
                primary.stop(Shutdown::Immediate).await.unwrap();
            }
            Fault::GatewayKilled => arena.kill_gateway(self.region).await,
            Fault::LineDelayed => {
                line.set_delay(Duration::from_millis(60), Duration::from_millis(90));
            }
            Fault::LineBlackHoled => line.black_hole(true),
            Fault::LineCut => line.cut(true),
            Fault::ClockJumped => arena.put_clock_off(self.whose_clock, self.jump).await,
            Fault::PromotedWithoutLoss | Fault::PromotedWithLoss | Fault::PromotedBeside => {
                return Some(promotion::begin(self, arena, round).await);
            }
        }
        None
    }

    pub(super) async fn end(self, arena: &mut Arena) {
        let line = &arena.posts[self.region].lines[self.line];
        let replica = &mut arena.cluster.replicas[self.region];
        match self.fault {
            Fault::ReplayPaused => replica.resume_replay().await.unwrap(),
            Fault::ReplayDelayed => replica.set("recovery_min_apply_delay", "0").await.unwrap(),
            Fault::StreamCut => replica.restore_stream().await.unwrap(),
            Fault::ReceiverFrozen | Fault::ReplicaFrozen => replica.thaw(),
            Fault::ReplicaRestarted => replica.start().await.unwrap(),
            Fault::PrimaryRestarted => arena.cluster.primary.start().await.unwrap(),
            Fault::GatewayKilled => arena.revive_gateway(self.region).await,
            Fault::LineDelayed => line.set_delay(Duration::ZERO, Duration::ZERO),
            Fault::LineBlackHoled => line.black_hole(false),
            Fault::LineCut => line.cut(false),
            Fault::ClockJumped => arena.put_clock_off(self.whose_clock, 0).await,
            Fault::PromotedWithoutLoss | Fault::PromotedWithLoss | Fault::PromotedBeside => {
                promotion::end(self, arena).await;
            }
        }
    }
}
