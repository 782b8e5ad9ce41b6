//! Makes requests be decided by the plans that the store says: swapped as one value.

use std::sync::Arc;

use super::bodies::Bodies;
use crate::endpoint::LiveRoutes;
use crate::regions::{
    Entrance, PolicyFile, PolicyTrial, TrafficPlans, TrafficPolicy, TrialCounters,
};
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

    /// Makes requests be served here, unless a revision is in force.
    pub(super) fn serve_here(&self) {
        let routes = self.routes.load_full();
        let plans = routes.plans();
        let built_in = plans.in_force.as_ref();
        if built_in.is_some_and(|policy| policy.file().revision == 0) {
            routes.put_plans(TrafficPlans::default());
        }
    }

    /// Whether this gateway is in a fleet, and could hand requests on.
    pub(super) fn has_peers(&self) -> bool {
        self.routes.load().built_in().is_some()
    }

    /// Makes requests be decided as the posture says.
    pub(super) fn apply(&self, posture: &Posture, bodies: &Bodies) {
        let routes = self.routes.load_full();
        let before = routes.plans().clone();
        let mut plans = TrafficPlans::clone(&before);
        let revision = posture.in_force.unwrap_or_default();
        let in_use =
            |plans: &TrafficPlans| plans.in_force.as_ref().map_or(0, |it| it.file().revision);
        let file = match revision {
            0 => routes.built_in(),
            _ => bodies.in_force(),
        };
        let is_in_use = match (&plans.in_force, file) {
            (Some(policy), Some(file)) => policy.file().is_same(file),
            (None, Some(_)) => false,
            (_, None) => in_use(&plans) == revision,
        };
        if !is_in_use {
            let trial = before.trial.as_ref().map(|trial| &trial.policy);
            let trial = trial.filter(|policy| file.is_some_and(|file| policy.file().is_same(file)));
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
        let trial = candidate(posture.trial.as_ref(), file.map(Arc::as_ref), bodies);
        if trial.is_some() && plans.in_force.is_none() {
            // Requests are compared with those that are served here.
            plans.in_force = here(&self.entrance.region).map(|file| {
                routes.start_policy(Arc::new(file), &self.entrance, &self.database, None)
            });
        }
        plans.trial = trial.map(|trial| self.trial(trial, &plans));
        let is_same = is_same(plans.in_force.as_ref(), before.in_force.as_ref())
            && shape(plans.trial.as_ref()) == shape(before.trial.as_ref());
        if !is_same {
            routes.put_plans(plans);
        }
    }

    fn trial(
        &self,
        (trial, file): (&OnTrial, &Arc<PolicyFile>),
        plans: &TrafficPlans,
    ) -> PolicyTrial {
        let same = plans.trial.as_ref().filter(|it| {
            (it.rollout, it.started) == (trial.rollout, trial.started)
                && it.policy.file().is_same(file)
        });
        let begun = match same {
            Some(known) => PolicyTrial {
                share: trial.share,
                ..known.clone()
            },
            None => {
                let file = Arc::clone(file);
                let routes = self.routes.load();
                let before = plans.in_force.as_deref();
                PolicyTrial {
                    policy: routes.start_beside(file, &self.entrance, &self.database, before),
                    rollout: trial.rollout,
                    started: trial.started,
                    share: trial.share,
                    counters: Arc::new(TrialCounters::default()),
                }
            }
        };
        begun.counters.begin(begun.share);
        begun
    }

    /// Returns what is counted of the open rollout.
    pub(super) fn counters(&self) -> Option<Arc<TrialCounters>> {
        let routes = self.routes.load();
        let plans = routes.plans();
        plans.trial.as_ref().map(|it| Arc::clone(&it.counters))
    }
}

/// Returns the new plan of the open rollout, unless it is what is in force: the same text, and not only the same number,
/// which a promotion may have given again.
fn candidate<'a>(
    trial: Option<&'a OnTrial>,
    in_force: Option<&PolicyFile>,
    bodies: &'a Bodies,
) -> Option<(&'a OnTrial, &'a Arc<PolicyFile>)> {
    let trial = trial?;
    let file = bodies.policy(trial.revision)?;
    let is_other = in_force.is_none_or(|in_force| !file.is_same(in_force));
    is_other.then_some((trial, file))
}

/// What of a trial makes it another value.
fn shape(trial: Option<&PolicyTrial>) -> Option<(u64, u64, u16, *const TrafficPolicy)> {
    trial.map(|it| (it.rollout, it.started, it.share, Arc::as_ptr(&it.policy)))
}

fn is_same(one: Option<&Arc<TrafficPolicy>>, other: Option<&Arc<TrafficPolicy>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

/// The policy of a gateway on its own: every request is served here.
fn here(region: &RegionId) -> Option<PolicyFile> {
    let text = format!("region {region}\npolicy everything {{ prefer local }}\n");
    PolicyFile::of("built-in", text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use tidegate_rollout::{RolloutStage, SavedPolicy, StoredRevision, TrustedKeys};

    use super::*;

    #[tokio::test]
    async fn what_has_the_number_in_force_is_a_candidate_unless_its_text_is_in_force() {
        let body = "region a\npolicy p { prefer a }\n";
        let stored = StoredRevision::unsigned(3, body);
        let mut bodies = Bodies::default();
        let trust = TrustedKeys::default();
        let accepted = bodies.accept_saved(&SavedPolicy::of(&stored), &trust).await;
        assert_eq!(accepted, Ok(()));
        let trial = OnTrial {
            rollout: 6,
            started: 60,
            revision: 3,
            stage: RolloutStage::Shadow,
            share: 0,
            latency: true,
        };
        let file = |text: &str| PolicyFile {
            revision: 3,
            ..PolicyFile::of("revision 3", text.as_bytes()).unwrap()
        };
        let is_one =
            |in_force: Option<&PolicyFile>| candidate(Some(&trial), in_force, &bodies).is_some();
        assert!(!is_one(Some(&file(body))));
        assert!(is_one(Some(&file(&format!("# lost\n{body}")))));
        assert!(is_one(None));
    }
}
