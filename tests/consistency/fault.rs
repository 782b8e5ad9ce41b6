//! The faults, each for real.

use std::time::Duration;

use fastrand::Rng;
use tidegate::demo::Shutdown;

use super::arena::{Arena, GATEWAYS, LINES};

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
}

impl Fault {
    pub(super) const ALL: [Self; 11] = [
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
    ];
}

/// A fault at a place: a region, and one of its gateway's lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) fault: Fault,
    region: usize,
    line: usize,
}

impl Placed {
    pub(super) fn somewhere(fault: Fault, rng: &mut Rng) -> Self {
        let (region, line) = (rng.usize(..GATEWAYS), rng.usize(..LINES));
        Self {
            fault,
            region,
            line,
        }
    }

    pub(super) async fn begin(self, arena: &mut Arena) {
        let line = &arena.posts[self.region].lines[self.line];
        let replica = &mut arena.cluster.replicas[self.region];
        match self.fault {
            Fault::ReplayPaused => replica.pause_replay().await.unwrap(),
            Fault::ReplayDelayed => {
                replica
                    .set("recovery_min_apply_delay", "700ms")
                    .await
                    .unwrap();
            }
            Fault::StreamCut => replica.cut_stream().await.unwrap(),
            Fault::ReceiverFrozen => replica.freeze_receiver().await.unwrap(),
            Fault::ReplicaFrozen => replica.freeze().unwrap(),
            Fault::ReplicaRestarted => replica.stop(Shutdown::Immediate).await.unwrap(),
            Fault::PrimaryRestarted => {
                arena
                    .cluster
                    .primary
                    .stop(Shutdown::Immediate)
                    .await
                    .unwrap();
            }
            Fault::GatewayKilled => arena.kill_gateway(self.region).await,
            Fault::LineDelayed => {
                line.set_delay(Duration::from_millis(60), Duration::from_millis(90));
            }
            Fault::LineBlackHoled => line.black_hole(true),
            Fault::LineCut => line.cut(true),
        }
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
        }
    }
}
