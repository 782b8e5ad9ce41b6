//! What the policies make of one request: the region, and its standbys.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use http::request::Parts;
use http::uri::Authority;
use smallvec::SmallVec;

use super::plans::{Arm, PolicyTrial};
use super::route::{Compared, NoRegion, Reaches, RegionRoute};
use super::seen::failed_over;
use super::{TrafficPlans, TrafficPolicy};
use crate::http::{Routed, without_port};
use tidegate_model::RegionId;
use tidegate_rollout::belongs_to_new;
use tidegate_traffic::decide::{RegionDecision, RegionReason, Request, Target, decide, hint_of};
use tidegate_traffic::facts::Facts;
use tidegate_traffic::plan::{Else, RegionIndex, Retry};

impl RegionRoute {
    /// Decides where a request goes; `None` without a policy. The path is normalised.
    ///
    /// # Errors
    /// When no region may serve it.
    pub fn decide(
        plans: &TrafficPlans,
        head: &Parts,
        path: &str,
        reaches: &impl Reaches,
    ) -> Result<Option<Self>, NoRegion> {
        let Some(traffic) = &plans.in_force else {
            return Ok(None);
        };
        let location = traffic.locate(head);
        let hint = hint_of(&head.headers);
        let request = Request {
            method: &head.method,
            path,
            query: head.uri.query().unwrap_or_default(),
            host: host_of(head),
            headers: &head.headers,
            client: location.address,
            country: location.country,
            place: location.place,
            hint: &hint,
            recorded: &[],
        };
        let old = Decided::by(traffic, &request, reaches);
        let (used, arm, compared) = match &plans.trial {
            Some(trial) => trial.choose(old, &request, reaches),
            None => (old, None, None),
        };
        used.note(&request, arm.map(Arm::as_str));
        match used.route {
            Ok(route) => Ok(Some(Self { compared, ..route })),
            Err(refused) => {
                used.traffic.seen.decided(&refused.routed);
                if let Some(compared) = compared {
                    let failed = refused.status >= 500;
                    compared
                        .counters
                        .count(compared.arm, failed, Duration::ZERO);
                }
                Err(refused)
            }
        }
    }
}

fn host_of(head: &Parts) -> &str {
    let of_field = || head.headers.get(http::header::HOST)?.to_str().ok();
    let authority = head.uri.authority().map(Authority::as_str);
    without_port(authority.or_else(of_field).unwrap_or_default())
}

/// What one policy makes of a request.
struct Decided<'a> {
    traffic: &'a Arc<TrafficPolicy>,
    facts: Guard<Arc<Facts>>,
    decision: RegionDecision,
    route: Result<RegionRoute, NoRegion>,
}

impl<'a> Decided<'a> {
    fn by(traffic: &'a Arc<TrafficPolicy>, request: &Request<'_>, reaches: &impl Reaches) -> Self {
        let facts = traffic.facts.load();
        let decision = decide(traffic.plan(), &facts, request);
        let chosen = Chosen {
            traffic,
            facts: &facts,
            request,
            decision: &decision,
        };
        let route = chosen.route(reaches);
        Self {
            traffic,
            facts,
            decision,
            route,
        }
    }

    fn routed(&self) -> &Routed {
        match &self.route {
            Ok(route) => &route.routed,
            Err(refused) => &refused.routed,
        }
    }

    /// Records what is acted upon.
    fn note(&self, request: &Request<'_>, arm: Option<&str>) {
        let (traffic, decision) = (self.traffic, &self.decision);
        if let Some(proposed) = decision.proposed
            && decision.reason == RegionReason::Left
            && let Some(took) = traffic.end_failover(proposed)
        {
            failed_over(took);
        }
        if let Some(receipts) = traffic.receipts() {
            let facts: &Facts = &self.facts;
            let made_from = (traffic.plan(), facts, traffic.file().revision);
            receipts.record(made_from, request, decision, self.routed().reason, arm);
        }
    }
}

impl PolicyTrial {
    /// Decides by the new plan too; returns what is used, by which plan, and what is to be counted.
    fn choose<'a>(
        &'a self,
        old: Decided<'a>,
        request: &Request<'_>,
        reaches: &impl Reaches,
    ) -> (Decided<'a>, Option<Arm>, Option<Compared>) {
        let new = Decided::by(&self.policy, request, reaches);
        let governing = &old.traffic.plan().policies()[old.decision.policy];
        let key = request.key(&governing.affinity);
        let differs = old.routed().region != new.routed().region;
        let (used, arm, other) = match belongs_to_new(self.rollout, key, self.share) {
            true => (new, Arm::New, old),
            false => (old, Arm::Old, new),
        };
        let compared = Compared {
            counters: Arc::clone(&self.counters),
            arm: differs.then_some(arm),
            other: Arc::clone(other.traffic),
        };
        (used, Some(arm), Some(compared))
    }
}

/// A decision with what it was made from.
struct Chosen<'a> {
    traffic: &'a Arc<TrafficPolicy>,
    facts: &'a Facts,
    request: &'a Request<'a>,
    decision: &'a RegionDecision,
}

impl Chosen<'_> {
    fn route(&self, reaches: &impl Reaches) -> Result<RegionRoute, NoRegion> {
        let (traffic, plan) = (self.traffic, self.traffic.plan());
        let RegionDecision {
            policy,
            region,
            standbys,
            reason,
            ..
        } = *self.decision;
        let region = match region {
            Target::Region(region) => region,
            Target::Here if !self.may_be_here() => return Err(self.none(503, RegionReason::Else)),
            Target::Here => {
                let own = std::iter::once(traffic.own().clone());
                let near = self.facts.conditions().near.iter();
                let others = near.map(|region| plan.region_id(*region).clone());
                return Ok(self.to(traffic.own(), reason, own.chain(others)));
            }
            Target::Status(status) => return Err(self.none(status, RegionReason::Else)),
        };
        let chosen = plan.region_id(region);
        let standbys = standbys.in_order(plan, self.facts, self.request, policy);
        let standbys = standbys.map(|region| plan.region_id(region).clone());
        let first = std::iter::once(chosen.clone());
        let reached = |region: &RegionId| {
            let is_own = traffic.local.is_some() && region == traffic.own();
            is_own || reaches.has_node_in(region)
        };
        if reached(chosen) {
            return Ok(self.to(chosen, reason, first.chain(standbys)));
        }
        let standbys: SmallVec<[RegionId; 8]> = standbys.collect();
        if reaches.has_fleet()
            && let Some(next) = standbys.iter().find(|region| reached(region))
        {
            let order = first.chain(standbys.iter().cloned());
            return Ok(self.to(next, RegionReason::NoTunnel, order));
        }
        if self.may_be_here() {
            let first = first.chain(std::iter::once(traffic.own().clone()));
            return Ok(self.to(traffic.own(), RegionReason::NoTunnel, first.chain(standbys)));
        }
        match self.facts.policy(policy).otherwise {
            Else::Status(status) => Err(self.none(status, RegionReason::NoTunnel)),
            // Refused by the compiler together with an `only` that leaves out a region.
            Else::Local => Err(self.none(503, RegionReason::NoTunnel)),
        }
    }

    /// Whether `only` allows this region, which the policy need not declare.
    fn may_be_here(&self) -> bool {
        let only = self.traffic.plan().policies()[self.decision.policy].only;
        only.is_none_or(|only| self.traffic.local.is_some_and(|it| only.has(it)))
    }

    fn to(
        &self,
        region: &RegionId,
        reason: RegionReason,
        order: impl Iterator<Item = RegionId>,
    ) -> RegionRoute {
        let policy = self.decision.policy;
        let routed = self.routed(Some(region.clone()), reason);
        let (repeats_max, budget) = match self.facts.policy(policy).retry {
            Retry::Never => (1, 0),
            Retry::Idempotent { regions, budget } => (1 + regions as usize, budget),
        };
        RegionRoute {
            nearer: self.nearer(region),
            traffic: Arc::clone(self.traffic),
            order: order.collect(),
            is_bound: self.traffic.plan().policies()[policy].only.is_some(),
            may_be_here: self.may_be_here(),
            is_here_only: self.decision.region == Target::Here,
            repeats_max,
            budget,
            compared: None,
            routed,
        }
    }

    fn none(&self, status: u16, reason: RegionReason) -> NoRegion {
        let routed = self.routed(None, reason);
        NoRegion { routed, status }
    }

    fn routed(&self, region: Option<RegionId>, reason: RegionReason) -> Arc<Routed> {
        let proposed = self.decision.proposed;
        Arc::new(Routed {
            policy: Arc::clone(&self.traffic.names[self.decision.policy]),
            proposed: proposed.map(|it| self.traffic.plan().region_id(it).clone()),
            region,
            reason,
        })
    }

    fn nearer(&self, region: &RegionId) -> usize {
        let plan = self.traffic.plan();
        let Some(region) = plan.region_index(region.as_str()) else {
            return usize::MAX;
        };
        let named = self.facts.policy(self.decision.policy).named;
        let place = |region: RegionIndex| plan.regions()[region.get()].place;
        let near = &self.facts.conditions().near;
        match (self.request.place, place(region)) {
            (Some(client), Some(served)) => {
                let distance = client.distance_km(&served);
                let others = named
                    .iter()
                    .filter(|other| *other != region)
                    .filter_map(place);
                others
                    .filter(|other| client.distance_km(other) < distance)
                    .count()
            }
            _ => near
                .iter()
                .take_while(|other| **other != region)
                .filter(|other| named.has(**other))
                .count(),
        }
    }
}
