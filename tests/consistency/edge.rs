//! The edge between the clients and the gateways: transparent or broken.

use std::time::Duration;

use super::client::Round;
use super::history::{Action, Outcome, Token};

/// An edge, through which the clients' requests and answers pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Transparent,
    /// Drops the level, like a CDN that is not configured to forward the header.
    DropsLevels,
    /// Drops the token.
    DropsTokens,
    /// Sends a write again although it was answered.
    RepeatsWrites,
    /// Marks every answer as not stale.
    ClaimsFreshness,
    /// Hides a loss and sends the request again without the token.
    HidesLosses,
    /// Reports losses that did not happen.
    MakesUpLosses,
    /// Uses one name for two gateways.
    MergesGateways,
}

impl Edge {
    /// Whether a token reaches the gateway.
    pub(super) fn passes_tokens(self) -> bool {
        self != Self::DropsTokens
    }

    /// Whether a level reaches the gateway.
    pub(super) fn passes_levels(self) -> bool {
        self != Self::DropsLevels
    }

    /// Which gateway the client believes it has talked to.
    pub(super) fn name_of(self, gateway: usize) -> usize {
        match self {
            Self::MergesGateways => 0,
            _ => gateway,
        }
    }
}

/// One request of a client, which the edge may send several times.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) gateway: usize,
    pub(super) key: usize,
    pub(super) action: Action,
    pub(super) token: Option<&'a Token>,
}

impl Round {
    /// Sends a request through the edge.
    pub(super) async fn exchange(&self, ask: Ask<'_>, chance: u8) -> Outcome {
        let outcome = self.send(ask).await;
        match (self.edge, ask.action, outcome) {
            (Edge::RepeatsWrites, Action::Write(_), _) if chance < 30 => self.send(ask).await,
            (Edge::HidesLosses, _, Outcome::Lost) => self.send(Ask { token: None, ..ask }).await,
            (Edge::MakesUpLosses, _, _) if ask.token.is_some() && chance < 5 => Outcome::Lost,
            (Edge::ClaimsFreshness, _, Outcome::Answered(mut answer)) => {
                answer.staleness = Some(Duration::ZERO);
                Outcome::Answered(answer)
            }
            (_, _, outcome) => outcome,
        }
    }
}
