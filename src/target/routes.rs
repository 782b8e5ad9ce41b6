//! Policies and endpoints together: what a reload swaps.

use super::Router;
use super::sql::POSITION;
use crate::admission::RateLimits;
use crate::config::{ConfigError, RouteTables};
use crate::policy::PolicyTable;

/// Everything that is decided by path.
#[derive(Debug)]
pub struct Routes {
    /// Path → floor and Cache-Control.
    pub policies: PolicyTable,
    /// What clients have left of the rows that limit them.
    pub rate_limits: RateLimits,
    /// Method and path → endpoint.
    pub router: Router,
}

impl Routes {
    /// Compiles the tables of a configuration.
    ///
    /// # Errors
    /// Names the file, line and key of the first row that cannot be used.
    pub fn compile(tables: &RouteTables) -> Result<Self, ConfigError> {
        let policies = PolicyTable::build(&tables.policies)?;
        Ok(Self {
            rate_limits: RateLimits::of(&policies),
            policies,
            router: Router::compile(&tables.endpoints)?,
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
