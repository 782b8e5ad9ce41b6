//! What commands read of rollouts and gateways.

use tokio_postgres::Row;

use super::StoreError;
use super::rows::{InForceRow, OpenRow, TEXT_MAX, long, number, open_row, report};
use super::session::{Arguments, StoreSession, UTC};
use tidegate_rollout::GatewayReport;

/// Most revisions that are named.
const NAMED_MAX: usize = 5;

impl StoreSession {
    /// Returns the rollout that has put in force what is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn in_force(&self) -> Result<InForceRow, StoreError> {
        let sql = "select rollout, revision, base from tidegate.traffic_rollout \
            where outcome = 'done' order by rollout desc limit 1";
        let rows = self.rows(sql, &[]).await?;
        let row = |row: &Row| {
            Ok::<_, StoreError>(InForceRow {
                rollout: long(row, 0)?,
                revision: number(row, 1)?,
                base: number(row, 2)?,
            })
        };
        Ok(rows.first().map(row).transpose()?.unwrap_or_default())
    }

    /// Returns the open rollout, if there is one, or the newest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn newest(&self, only_open: bool) -> Result<Option<OpenRow>, StoreError> {
        let those = if only_open { "outcome is null" } else { "true" };
        self.row_of(those, &[]).await
    }

    /// Returns a rollout.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn rollout(&self, rollout: u64) -> Result<Option<OpenRow>, StoreError> {
        let number = i64::try_from(rollout).unwrap_or(i64::MAX);
        self.row_of("rollout = $1", &[&number]).await
    }

    /// Returns the newest rollback that has ended what a rollout has put in force.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn rolled_back_after(&self, rollout: u64) -> Result<Option<OpenRow>, StoreError> {
        let number = i64::try_from(rollout).unwrap_or(i64::MAX);
        let those = "rollout > $1 and kind = 'rollback' and outcome = 'done'";
        self.row_of(those, &[&number]).await
    }

    async fn row_of(
        &self,
        those: &str,
        arguments: Arguments<'_>,
    ) -> Result<Option<OpenRow>, StoreError> {
        let sql = format!(
            "select rollout, kind, revision, base, stage, left(region, {TEXT_MAX}), share, paused, \
             left(by, {TEXT_MAX}), to_char(started_at {UTC}), outcome, left(reason, {TEXT_MAX}) \
             from tidegate.traffic_rollout where {those} order by rollout desc limit 1"
        );
        let rows = self.rows(&sql, arguments).await?;
        rows.first().map(open_row).transpose()
    }

    /// Returns what the gateways report.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn gateways(&self) -> Result<Vec<GatewayReport>, StoreError> {
        let sql = format!(
            "select left(gateway, {TEXT_MAX}), left(region, {TEXT_MAX}), left(version, {TEXT_MAX}), language, \
             rollout, revision, share, left(state, {TEXT_MAX}), left(refused, {TEXT_MAX}), \
             case when octet_length(report::text) <= 65536 then report::text end, \
             case when isfinite(reported_at) then \
                extract(epoch from clock_timestamp() - reported_at) else 1e9 end::float8 \
             from tidegate.traffic_gateway order by region, gateway limit 10000"
        );
        Ok(self.rows(&sql, &[]).await?.iter().map(report).collect())
    }

    /// Returns the greatest floor of a revision that was in force: what is below it is void.
    pub(super) async fn floor(&self) -> Result<u32, StoreError> {
        let sql = "select coalesce(max(floor), 0) from tidegate.traffic_revision as it \
            where floor <= revision and exists ( \
                select from tidegate.traffic_rollout where outcome = 'done' and revision = it.revision)";
        let rows = self.rows(sql, &[]).await?;
        rows.first().map_or(Ok(0), |row| number(row, 0))
    }

    /// Whether a revision was in force at some time; the built-in policy was.
    pub(super) async fn was_in_force(&self, revision: u32) -> Result<bool, StoreError> {
        Ok(revision == 0 || !self.were_in_force(revision, revision, 1).await?.is_empty())
    }

    /// The newest revisions below a number that were in force and are not void, in words.
    pub(super) async fn to_go_back_to(&self, below: u32, floor: u32) -> Result<String, StoreError> {
        let known = self.were_in_force(floor.max(1), below.saturating_sub(1), NAMED_MAX);
        let known: Vec<_> = known.await?.iter().map(u32::to_string).collect();
        Ok(match known.is_empty() {
            true => "`tidegate policy rollback --to 0` goes back to the built-in policy".to_owned(),
            false => format!(
                "`tidegate policy rollback --to` takes {}, or 0 for the built-in policy",
                known.join(", ")
            ),
        })
    }

    /// The greatest revisions between two numbers that were in force.
    async fn were_in_force(&self, from: u32, to: u32, most: usize) -> Result<Vec<u32>, StoreError> {
        let sql = format!(
            "select distinct revision from tidegate.traffic_rollout where outcome = 'done' \
             and revision between {from} and {to} order by revision desc limit {most}"
        );
        let rows = self.rows(&sql, &[]).await?;
        rows.iter().map(|row| number(row, 0)).collect()
    }
}
