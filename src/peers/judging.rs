//! Judges the regions for the traffic policies, and passes the judgement on to them.

use std::sync::Arc;

use tidegate_fleet::{Fleet, Judge};
use tidegate_traffic::facts::Conditions;
use tidegate_traffic::plan::{OpenWindows, Plan};

use crate::endpoint::LiveRoutes;
use crate::regions::TrafficPolicy;

/// The judges of the policy in force and of an open rollout.
pub(super) struct Judging {
    pub(super) judge: Judge,
    pub(super) plan: Arc<Plan>,
    /// The policy that the plan is of, and what it was last told.
    told: Option<(Arc<TrafficPolicy>, Option<Conditions>)>,
    /// The policy of an open rollout, its judge, and what it was last told.
    trial: Option<(Arc<TrafficPolicy>, Judge, Option<Conditions>)>,
}

impl Judging {
    /// Begins with a plan that no policy has put in force yet.
    pub(super) fn new(plan: Arc<Plan>, fleet: &Fleet) -> Self {
        Self {
            judge: Judge::new(Arc::clone(&plan), fleet),
            plan,
            told: None,
            trial: None,
        }
    }

    /// Judges the regions by the policies in force, and tells these what has changed.
    pub(super) fn step(&mut self, fleet: &Fleet, routes: &LiveRoutes) {
        self.take_policy(routes);
        let policy = self.told.as_ref().map(|(policy, _)| policy);
        let open = policy.map_or(OpenWindows(0), |policy| policy.open_windows());
        self.judge.step(fleet, open);
        self.tell(fleet);
    }

    /// Judges by the policy in force from now on.
    fn take_policy(&mut self, routes: &LiveRoutes) {
        let routes = routes.load();
        let plans = routes.plans();
        let Some(policy) = &plans.in_force else {
            return;
        };
        let known = self.told.as_ref().map(|(known, _)| known);
        if known.is_none_or(|known| !Arc::ptr_eq(known, policy)) {
            self.plan = Arc::clone(&policy.file().plan);
            let of_trial = self.trial.take();
            let of_trial = of_trial.filter(|(known, ..)| Arc::ptr_eq(known, policy));
            self.judge = match of_trial {
                Some((_, judge, _)) => judge,
                None => self.judge.adopt(Arc::clone(&self.plan)),
            };
            self.told = Some((Arc::clone(policy), None));
        }
        let trial = plans.trial.as_ref().map(|trial| &trial.policy);
        let known = self.trial.as_ref().map(|(known, ..)| known);
        if known.map(Arc::as_ptr) != trial.map(Arc::as_ptr) {
            let judge = |policy: &TrafficPolicy| self.judge.adopt(Arc::clone(&policy.file().plan));
            self.trial = trial.map(|policy| (Arc::clone(policy), judge(policy), None));
        }
    }

    /// Tells the policies how the regions are, if that has changed.
    fn tell(&mut self, fleet: &Fleet) {
        let Some((policy, told)) = &mut self.told else {
            return;
        };
        let conditions = self.judge.conditions(fleet, policy.open_windows());
        if told.as_ref() != Some(&conditions) {
            policy.judged_by_fleet(conditions.clone());
            *told = Some(conditions);
        }
        if let Some((policy, judge, told)) = &mut self.trial {
            let open = policy.open_windows();
            judge.step(fleet, open);
            let conditions = judge.conditions(fleet, open);
            if told.as_ref() != Some(&conditions) {
                policy.judged_by_fleet(conditions.clone());
                *told = Some(conditions);
            }
        }
    }
}
