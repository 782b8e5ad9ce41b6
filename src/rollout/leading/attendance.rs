//! Which of the gateways that a stage is about can be waited for.

use std::collections::BTreeSet;

use crate::GatewayReport;

/// The gateways of one stage, from look to look.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Those that were alive in this stage.
    seen: BTreeSet<String>,
}

/// Who is heard in one look.
pub(super) struct Heard<'a> {
    /// Those that are alive and do not suspect themselves.
    pub(super) alive: Vec<&'a GatewayReport>,
    /// The names of those that were alive in this stage, if none is alive: they may use it still.
    pub(super) silent: Vec<String>,
    /// Whether one suspects itself, or did when it was last heard: it neither confirms nor stops.
    suspects: bool,
}

impl Attendance {
    /// Looks who is heard of those that are here.
    pub(super) fn call<'a>(
        &mut self,
        rollout: u64,
        is_here: impl Fn(&GatewayReport) -> bool,
        reports: &'a [GatewayReport],
    ) -> Heard<'a> {
        let (suspecting, others): (Vec<_>, Vec<_>) =
            reports.iter().partition(|it| it.suspects_itself());
        let here = others.iter().copied().filter(|it| is_here(it));
        let alive: Vec<_> = here.filter(|it| it.follows()).collect();
        let followers = alive.iter().filter(|it| it.rollout == rollout);
        self.seen.extend(followers.map(|it| it.gateway.clone()));
        let is_silent = |it: &&&GatewayReport| !it.is_alive() && self.seen.contains(&it.gateway);
        let silent = others.iter().filter(|_| alive.is_empty());
        let silent = silent.filter(is_silent);
        Heard {
            silent: silent.map(|it| it.gateway.clone()).collect(),
            suspects: suspecting.into_iter().any(is_here),
            alive,
        }
    }
}

impl Heard<'_> {
    /// Whether there is no gateway at all.
    pub(super) fn is_nobody(&self) -> bool {
        self.alive.is_empty() && !self.is_missed()
    }

    /// Whether there are gateways, and none of them is heard.
    pub(super) fn is_missed(&self) -> bool {
        self.alive.is_empty() && (self.suspects || !self.silent.is_empty())
    }
}
