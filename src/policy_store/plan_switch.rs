//! Makes requests be decided by the plans that the store says: swapped as one value.

use std::sync::Arc;

use super::bodies::Bodies;
use crate::endpoint::LiveRoutes;
use crate::regions::{Entrance, PolicyFile, PolicyTrial, TrafficPlans, TrialCounters};
use crate::sql::Database;
use tidegate_model::RegionId;
use tidegate_rollout::{OnTrial, Posture};

/// What policies are started with, and where they are put.
pub(super) struct PlanSwitch {
    pub(super) routes: Arc<LiveRoutes>,
    pub(super) database: Arc<Database>,
    pub(super) entrance: Entrance,
}

impl PlanSwitch {
    /// Whether the policy in force is a file of this gateway.
    pub(super) fn is_pinned(&self) -> bool {
        self.routes.load().plans().pinned
    }

    /// Makes requests be decided as the posture says.
    pub(super) fn apply(&self, posture: &Posture, bodies: &Bodies) {
        let routes = self.routes.load_full();
        let before = routes.plans().clone();
        let mut plans = TrafficPlans::clone(&before);
        let revision = posture.in_force.unwrap_or_default();
        let in_use =
            |plans: &TrafficPlans| plans.in_force.as_ref().map_or(0, |it| it.file().revision);
        if in_use(&plans) != revision {
            let trial = before.trial.as_ref().map(|trial| &trial.policy);
            let trial = trial.filter(|policy| policy.file().revision == revision);
            let file = match revision {
                0 => routes.built_in(),
                _ => bodies.policy(revision),
            };
            let known = before.in_force.as_deref();
            plans.in_force = match (trial, file) {
                (Some(policy), _) => {
                    policy.take_over(known);
                    Some(Arc::clone(policy))
                }
                (None, Some(file)) => {
                    let file = Arc::clone(file);
                    Some(routes.start_policy(file, &self.entrance, &self.database, known))
                }
                (None, None) if revision == 0 => None,
                // What is in force is kept until there is something to follow it.
                (None, None) => plans.in_force,
            };
        }
        let trial = posture.trial.as_ref().filter(|it| it.revision != revision);
        if trial.is_some() && plans.in_force.is_none() {
            // Requests are compared with those that are served here.
            plans.in_force = here(&self.entrance.region).map(|file| {
                routes.start_policy(Arc::new(file), &self.entrance, &self.database, None)
            });
        }
        plans.trial = trial.and_then(|trial| self.trial(trial, &plans, bodies));
        let is_same = in_use(&plans) == in_use(&before)
            && plans.in_force.is_some() == before.in_force.is_some()
            && shape(plans.trial.as_ref()) == shape(before.trial.as_ref());
        if !is_same {
            routes.put_plans(plans);
        }
    }

    fn trial(&self, trial: &OnTrial, plans: &TrafficPlans, bodies: &Bodies) -> Option<PolicyTrial> {
        let same = plans.trial.as_ref();
        let same = same.filter(|it| it.rollout == trial.rollout);
        let begun = match same {
            Some(known) => PolicyTrial {
                share: trial.share,
                ..known.clone()
            },
            None => {
                let file = Arc::clone(bodies.policy(trial.revision)?);
                let routes = self.routes.load();
                let before = plans.in_force.as_deref();
                PolicyTrial {
                    policy: routes.start_beside(file, &self.entrance, &self.database, before),
                    rollout: trial.rollout,
                    share: trial.share,
                    counters: Arc::new(TrialCounters::default()),
                }
            }
        };
        begun.counters.begin(begun.share);
        Some(begun)
    }

    /// Returns what is counted of the open rollout.
    pub(super) fn counters(&self) -> Option<Arc<TrialCounters>> {
        let routes = self.routes.load();
        let plans = routes.plans();
        plans.trial.as_ref().map(|it| Arc::clone(&it.counters))
    }
}

/// What of a trial makes it another value.
fn shape(trial: Option<&PolicyTrial>) -> Option<(u64, u16)> {
    trial.map(|it| (it.rollout, it.share))
}

/// The policy of a gateway on its own: every request is served here.
fn here(region: &RegionId) -> Option<PolicyFile> {
    let text = format!("region {region}\npolicy everything {{ prefer local }}\n");
    PolicyFile::of("built-in", text.as_bytes()).ok()
}
