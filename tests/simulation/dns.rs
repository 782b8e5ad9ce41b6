//! Route 53: the nearest region to the resolver whose probes pass, kept by the resolver for a minute.

use crate::event::Kind;
use crate::run::Luck;
use crate::world::World;

const TTL: f64 = 60.0;
const PROBE_EVERY: f64 = 10.0;
const PROBES: u32 = 3;

/// The share of 5xx from which a probe, answered by many checkers, counts as failed.
const PROBE_FAILS: f64 = 0.5;

/// Health checks, and what resolvers have kept.
pub(crate) struct Dns {
    health: Vec<Health>,
    next_probe: f64,
    kept: Vec<Option<Kept>>,
}

#[derive(Clone, Copy, Default)]
struct Health {
    bad: bool,
    /// Consecutive probes with a different result.
    contrary: u32,
}

#[derive(Clone, Copy)]
struct Kept {
    region: usize,
    until: f64,
}

impl Dns {
    pub(crate) fn new(world: &World, luck: &mut Luck) -> Self {
        // As if they had resolved the name at some time in the last minute.
        let next_probe = luck.share() * PROBE_EVERY;
        let kept = world.resolvers.iter().map(|order| {
            Some(Kept {
                region: order[0],
                until: luck.share() * TTL,
            })
        });
        Self {
            health: vec![Health::default(); world.load.len()],
            next_probe,
            kept: kept.collect(),
        }
    }

    pub(crate) fn tick(&mut self, fault: impl Fn(usize) -> Option<Kind>, now: f64) {
        if now < self.next_probe {
            return;
        }
        self.next_probe += PROBE_EVERY;
        for (region, health) in self.health.iter_mut().enumerate() {
            let fails = match fault(region) {
                Some(Kind::Gone) => true,
                Some(Kind::Down(nodes)) => nodes == crate::event::NODES,
                Some(Kind::Errors(share)) => share >= PROBE_FAILS,
                _ => false,
            };
            health.contrary = if fails == health.bad {
                0
            } else {
                health.contrary + 1
            };
            if health.contrary == PROBES {
                *health = Health {
                    bad: fails,
                    contrary: 0,
                };
            }
        }
    }

    /// Returns the region whose address a resolver gives.
    pub(crate) fn resolve(&mut self, world: &World, resolver: usize, now: f64) -> usize {
        if let Some(kept) = self.kept[resolver]
            && kept.until > now
        {
            return kept.region;
        }
        let order = &world.resolvers[resolver];
        let healthy = order.iter().find(|region| !self.health[**region].bad);
        let region = *healthy.unwrap_or(&order[0]);
        self.kept[resolver] = Some(Kept {
            region,
            until: now + TTL,
        });
        region
    }
}
