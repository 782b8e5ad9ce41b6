//! Policies and endpoints together: what a reload swaps.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Router;
use super::sql::POSITION;
use super::upstream::Upstreams;
use crate::admission::RateLimits;
use crate::config::{ConfigError, RouteTables};
use crate::policy::PolicyTable;

/// Counts the tables compiled by this process.
static REVISIONS: AtomicU64 = AtomicU64::new(0);

/// Everything that is decided by path.
#[derive(Debug)]
pub struct Routes {
    /// Tells these tables from all others of this process: what they answered is not served by
    /// others.
    pub revision: u64,
    /// Path → floor and Cache-Control.
    pub policies: PolicyTable,
    /// What clients have left of the rows that limit them.
    pub rate_limits: RateLimits,
    /// Method and path → endpoint.
    pub router: Router,
    /// The applications that endpoints hand requests to.
    pub upstreams: Upstreams,
}

impl Routes {
    /// Compiles the tables of a configuration.
    ///
    /// # Errors
    /// Names the file, line and key of the first row that cannot be used.
    pub fn compile(tables: &RouteTables) -> Result<Self, ConfigError> {
        Self::recompile(tables, &Upstreams::default())
    }

    /// As [`compile`](Self::compile); upstreams that have not changed go on with what they know.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn recompile(tables: &RouteTables, before: &Upstreams) -> Result<Self, ConfigError> {
        let policies = PolicyTable::build(&tables.policies)?;
        let upstreams = Upstreams::build(&tables.upstreams, before)?;
        Ok(Self {
            revision: REVISIONS.fetch_add(1, Ordering::Relaxed),
            rate_limits: RateLimits::of(&policies),
            policies,
            router: Router::compile(&tables.endpoints, &upstreams)?,
            upstreams,
        })
    }

    /// The texts of everything requests run, for connections to prepare before they serve.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let endpoints = self.router.sql_endpoints();
        let texts = endpoints.map(|(_, sql)| sql.statement.text());
        texts.chain([POSITION]).map(str::to_owned).collect()
    }
}
