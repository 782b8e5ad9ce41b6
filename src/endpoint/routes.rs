//! Policies and endpoints together, which a reload replaces as one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::{Router, application_rows};
use crate::endpoint::{RegionTables, RouteTables};
use crate::http::RateLimits;
use crate::regions::{
    Entrance, GeoDatabase, PolicyFile, PolicyTrial, RegionNode, TrafficPlans, TrafficPolicy,
};
use crate::sql::{Database, GUARD, POSITION};
use crate::upstream::Upstreams;
use tidegate_model::{ConfigError, RegionId, normalise};
use tidegate_policy::{Cors, PolicyTable};

/// Statements that a connection prepares before it serves. Each takes the server some tenths of a
/// millisecond, and memory per connection; the others are prepared when they are needed.
const WARM_MAX: usize = 100;

/// Counts the tables compiled by this process.
static REVISIONS: AtomicU64 = AtomicU64::new(0);

/// Everything that is decided by path.
pub struct Routes {
    /// Distinguishes these tables from all others of this process: their stored answers are not
    /// served by others.
    pub revision: u64,
    /// Path → floor and Cache-Control.
    pub policies: PolicyTable,
    /// Whether any row has `cors`.
    has_cors: bool,
    /// The clients' remaining budgets on rows with a rate limit.
    pub rate_limits: RateLimits,
    /// Method and path → endpoint.
    pub router: Router,
    /// The applications that endpoints forward requests to.
    pub upstreams: Upstreams,
    /// The traffic policy in force, and the one of an open rollout.
    plans: ArcSwap<TrafficPlans>,
    /// Where clients are, for policies that are started later.
    geo: OnceLock<Option<Arc<GeoDatabase>>>,
    built_in: OnceLock<Option<Arc<PolicyFile>>>,
}

impl Routes {
    /// Compiles the tables of a configuration.
    ///
    /// # Errors
    /// Names the file, line and key of the first row that cannot be used.
    pub fn compile(tables: &RouteTables) -> Result<Self, ConfigError> {
        Self::recompile(tables, &Upstreams::default())
    }

    /// Like [`compile`](Self::compile); upstreams that have not changed keep their state.
    ///
    /// # Errors
    /// See [`compile`](Self::compile).
    pub fn recompile(tables: &RouteTables, before: &Upstreams) -> Result<Self, ConfigError> {
        let policies = PolicyTable::build(&tables.policies)?;
        let upstreams = Upstreams::build(&tables.upstreams, before)?;
        let router = Router::compile(&tables.endpoints, &upstreams)?;
        application_rows::check(&policies, &router)?;
        let has_cors = policies.rows().any(|row| row.cors().is_some());
        Ok(Self {
            revision: REVISIONS.fetch_add(1, Ordering::Relaxed),
            rate_limits: RateLimits::of(&policies),
            has_cors,
            router,
            policies,
            upstreams,
            plans: ArcSwap::default(),
            geo: OnceLock::new(),
            built_in: OnceLock::new(),
        })
    }

    /// The traffic policy in force, if there is one.
    #[must_use]
    pub fn traffic(&self) -> Option<Arc<TrafficPolicy>> {
        self.plans.load().in_force.clone()
    }

    /// The traffic policy in force, and the one of an open rollout, for short use.
    #[must_use]
    pub fn plans(&self) -> Guard<Arc<TrafficPlans>> {
        self.plans.load()
    }

    /// Swaps both.
    pub fn put_plans(&self, plans: TrafficPlans) {
        self.plans.store(Arc::new(plans));
    }

    /// Puts the traffic policy of the tables in force; without one, those of the policy store stay. What
    /// is known about regions is taken over.
    pub fn put_in_force(
        &self,
        tables: &RegionTables,
        entrance: &Entrance,
        database: &Database,
        before: &TrafficPlans,
    ) {
        let _first = self.geo.set(tables.geo.clone());
        let start = |file: &Arc<PolicyFile>, known: Option<&Arc<TrafficPolicy>>| {
            let known = known.map(|known| &**known);
            self.start_policy(Arc::clone(file), entrance, database, known)
        };
        let known = before.in_force.as_ref();
        let given = tables.policy.as_ref().map(|file| start(file, known));
        if !tables.is_built_in {
            return self.put_plans(TrafficPlans {
                pinned: given.is_some(),
                in_force: given,
                trial: None,
            });
        }
        let _first = self.built_in.set(tables.policy.clone());
        let is_stored = |it: &&Arc<TrafficPolicy>| !before.pinned && it.file().revision > 0;
        let stored = known.filter(is_stored);
        let beside = |trial: &PolicyTrial| PolicyTrial {
            policy: {
                let file = Arc::clone(trial.policy.shared_file());
                self.start_beside(file, entrance, database, Some(&trial.policy))
            },
            ..trial.clone()
        };
        let again = stored.map(|policy| start(policy.shared_file(), Some(policy)));
        self.put_plans(TrafficPlans {
            in_force: again.or(given),
            trial: before.trial.as_ref().map(beside),
            pinned: false,
        });
    }

    /// Returns the policy that is in force before the first rollout, if this gateway is in a fleet.
    #[must_use]
    pub fn built_in(&self) -> Option<&Arc<PolicyFile>> {
        self.built_in.get()?.as_ref()
    }

    /// Starts a policy over the nodes of these tables; what is known about regions is taken over.
    #[must_use]
    pub fn start_policy(
        &self,
        file: Arc<PolicyFile>,
        entrance: &Entrance,
        database: &Database,
        before: Option<&TrafficPolicy>,
    ) -> Arc<TrafficPolicy> {
        let nodes = self.region_nodes(&entrance.region, database);
        let geo = self.geo.get().cloned().flatten();
        TrafficPolicy::start(file, geo, entrance.clone(), nodes, before)
    }

    /// As [`start_policy`](Self::start_policy), for one that decides beside the one in force.
    #[must_use]
    pub fn start_beside(
        &self,
        file: Arc<PolicyFile>,
        entrance: &Entrance,
        database: &Database,
        before: Option<&TrafficPolicy>,
    ) -> Arc<TrafficPolicy> {
        let nodes = self.region_nodes(&entrance.region, database);
        let geo = self.geo.get().cloned().flatten();
        TrafficPolicy::start_beside(file, (geo, entrance.clone()), nodes, before)
    }

    /// Returns the nodes by which regions are judged.
    fn region_nodes(&self, own: &RegionId, database: &Database) -> Vec<RegionNode> {
        let upstreams = self.upstreams.iter();
        let nodes = upstreams.flat_map(|upstream| upstream.region_nodes(own));
        nodes.chain(database.region_nodes()).collect()
    }

    /// Whether a normalised path may have a budget for every client.
    #[must_use]
    pub fn limits(&self, path: &str) -> bool {
        if self.rate_limits.is_empty() {
            return false;
        }
        let row = self.policies.lookup(path);
        row.is_none_or(|row| self.rate_limits.row(row).is_some())
    }

    /// Which pages of other origins may call a path, which need not be normalised.
    #[must_use]
    pub fn cors(&self, path: &str) -> Option<Arc<Cors>> {
        if !self.has_cors {
            return None;
        }
        let path = normalise(path).ok()?;
        self.policies.lookup(&path)?.cors().map(Arc::clone)
    }

    /// The texts of the statements that connections prepare before they serve: reads, at most a
    /// hundred, first those that requests have already run, after what the gateway itself needs.
    #[must_use]
    pub fn warm_statements(&self) -> Vec<String> {
        let endpoints = || {
            let statements = self.router.sql_endpoints().map(|(_, sql)| sql);
            // Those with settings are parsed in their own transaction.
            statements.filter(|sql| sql.is_read && sql.local.is_none())
        };
        let used = endpoints().filter(|sql| sql.quickness.is_known());
        let unused = endpoints().filter(|sql| !sql.quickness.is_known());
        let texts = used.chain(unused).map(|sql| sql.statement.text());
        let has_writes = self.router.sql_endpoints().any(|(_, sql)| !sql.is_read);
        let guard = has_writes.then_some(GUARD);
        let texts = [POSITION].into_iter().chain(guard).chain(texts);
        texts.take(WARM_MAX).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::*;
    use crate::endpoint::{
        EndpointAuth, EndpointConfig, EndpointMethod, RegionTables, TargetConfig,
    };
    use crate::sql::SqlConfig;
    use tidegate_model::Place;

    fn endpoint(number: usize) -> EndpointConfig {
        EndpointConfig {
            place: Place::Name("test"),
            method: EndpointMethod::One(Method::GET),
            path: format!("/{number}"),
            auth: EndpointAuth::None,
            target: TargetConfig::Sql(SqlConfig {
                status: StatusCode::OK,
                statement: format!("select {number} as number"),
                single: false,
                body_strings: Vec::new(),
                settings: Vec::new(),
                role: None,
                roles: None,
                page: None,
            }),
        }
    }

    #[test]
    fn of_many_statements_those_are_warm_that_have_been_run() {
        let tables = RouteTables {
            policies: Vec::new(),
            endpoints: (0..2 * WARM_MAX).map(endpoint).collect(),
            upstreams: Vec::new(),
            regions: RegionTables::default(),
        };
        let routes = Routes::compile(&tables).unwrap();
        let is_warm = |number: usize| {
            let text = format!("select {number} as number");
            let mut statements = routes.warm_statements().into_iter();
            statements.any(|statement| statement.contains(&text))
        };
        let last = 2 * WARM_MAX - 1;
        assert_eq!(routes.warm_statements().len(), WARM_MAX);
        assert!(is_warm(0) && !is_warm(last));
        let mut endpoints = routes.router.sql_endpoints();
        let (_, sql) = endpoints
            .find(|(it, _)| it.template == format!("/{last}"))
            .unwrap();
        sql.quickness.add(0, Duration::from_secs(1), Duration::ZERO);
        assert!(is_warm(0) && is_warm(last));
        assert!(routes.warm_statements().contains(&POSITION.to_owned()));
    }
}
