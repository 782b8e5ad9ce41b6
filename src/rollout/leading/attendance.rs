//! Which of the gateways that a stage is about can be waited for.

use std::collections::BTreeSet;

use crate::GatewayReport;

/// The gateways of one region, or of shadow, from look to look.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Those that were alive in a stage of it.
    seen: BTreeSet<String>,
}

/// The gateways that one look shows.
pub(super) struct Heard<'a> {
    /// Those that are alive and do not suspect themselves.
    pub(super) alive: Vec<&'a GatewayReport>,
    /// The names of the others that may use the new plan: they suspect themselves, or were alive before.
    pub(super) missing: BTreeSet<String>,
}

impl Attendance {
    /// Looks at the reports of those that are here.
    pub(super) fn call<'a>(
        &mut self,
        is_of_this: impl Fn(&GatewayReport) -> bool,
        is_here: impl Fn(&GatewayReport) -> bool,
        reports: &'a [GatewayReport],
    ) -> Heard<'a> {
        let here = reports.iter().filter(|it| it.follows() && is_here(it));
        let (suspects, alive): (Vec<_>, Vec<_>) = here.partition(|it| it.suspects_itself());
        let followers = alive.iter().chain(&suspects);
        let followers = followers.filter(|it| is_of_this(it));
        self.seen.extend(followers.map(|it| it.gateway.clone()));
        let mut missing = self.seen.clone();
        missing.extend(suspects.iter().map(|it| it.gateway.clone()));
        for report in &alive {
            missing.remove(&report.gateway);
        }
        Heard { alive, missing }
    }
}

impl Heard<'_> {
    /// Whether there is no gateway at all.
    pub(super) fn is_nobody(&self) -> bool {
        self.alive.is_empty() && self.missing.is_empty()
    }

    /// Whether there are gateways, and none of them can confirm.
    pub(super) fn is_missed(&self) -> bool {
        self.alive.is_empty() && !self.missing.is_empty()
    }
}
