//! What commands do with rollouts.

use super::StoreError;
use super::past::{floor, refuse_unsigned, to_go_back_to, was_in_force};
use super::rows::{
    InForceRow, NewRollout, OpenRow, PolicyRollback, STARTED, TEXT_MAX, finished, number,
};
use super::session::{Arguments, StoreSession, int};
use tidegate_rollout::{FinishedRollout, RolloutOutcome, RolloutStage, StoredRevision};

/// Ends an open rollout whose leader is gone.
const EXPIRE: &str = "update tidegate.traffic_rollout \
    set outcome = 'expired', reason = 'its leader was gone for 15 s', ended_at = clock_timestamp() \
    where outcome is null and renewed_at < clock_timestamp() - interval '15 s'";

/// The condition under which a leader may go on.
const LED: &str = "rollout = $1 and leader = $2 and outcome is null \
    and renewed_at > clock_timestamp() - interval '10 s'";

impl StoreSession {
    /// Begins a rollout; returns its number and when it began, in microseconds since 1970.
    ///
    /// # Errors
    /// When another one is open, or the revision is below the one in force.
    pub async fn begin(&self, new: &NewRollout<'_>) -> Result<(u64, u64), StoreError> {
        self.expire_if_left().await?;
        self.transaction(async || {
            self.lock_rollouts().await?;
            self.refuse_open().await?;
            let in_force = self.in_force().await?.by.revision;
            let revision = new.revision;
            if revision < in_force {
                return Err(StoreError::Below { revision, in_force });
            }
            self.refuse_void(revision, in_force).await?;
            let row = "(kind, revision, base, regions, bake, blast_radius, judge, leader, by) \
                values ('rollout', $1, $2, $3, make_interval(secs => $4), $5, $6, $7, $8)";
            let (revision, base) = (int(revision), int(in_force));
            let (bake, radius) = (new.bake.as_secs_f64(), int(new.blast_radius));
            let arguments: Arguments<'_> = &[
                &revision,
                &base,
                &new.regions,
                &bake,
                &radius,
                &new.judge,
                &new.leader,
                &new.by,
            ];
            let begun = self.insert(row, arguments).await?;
            Ok((begun.rollout, begun.started))
        })
        .await
    }

    /// Inserts a rollout. Gateways go by the greatest number: another would not be followed.
    async fn insert(
        &self,
        row: &str,
        arguments: Arguments<'_>,
    ) -> Result<FinishedRollout, StoreError> {
        let newest = self.newest(false).await?;
        let greatest = newest.map_or(0, |it| it.rollout);
        let sql = format!(
            "insert into tidegate.traffic_rollout {row} returning rollout, {STARTED}, revision"
        );
        let rows = self.rows(&sql, arguments).await?;
        let begun = rows.first().map(finished).transpose()?.unwrap_or_default();
        let rollout = begun.rollout;
        match rollout > greatest {
            true => Ok(begun),
            false => Err(StoreError::Behind { rollout, greatest }),
        }
    }

    /// Shows that the leader lives; returns whether it still leads.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn renew(&self, rollout: u64, leader: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set beat = beat + 1, renewed_at = clock_timestamp() where {LED}"
        );
        self.led(&sql, &[&big(rollout), &leader]).await
    }

    /// Goes on with a stage; returns whether it still leads.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn enter(
        &self,
        (rollout, leader): (u64, &str),
        stage: RolloutStage,
        region: Option<&str>,
        share: u16,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set stage = $3, region = $4, share = $5, beat = beat + 1, \
             renewed_at = clock_timestamp() where {LED}"
        );
        let (rollout, share) = (big(rollout), i32::from(share));
        let arguments: Arguments<'_> = &[&rollout, &leader, &stage.as_str(), &region, &share];
        self.led(&sql, arguments).await
    }

    /// Ends a rollout as its leader; returns whether it still led.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn end(
        &self,
        (rollout, leader): (u64, &str),
        end: RolloutOutcome,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set outcome = $3, reason = $4, ended_at = clock_timestamp() \
             where {LED}"
        );
        let reason: String = reason.chars().take(TEXT_MAX).collect();
        let arguments: Arguments<'_> = &[&big(rollout), &leader, &end.as_str(), &reason];
        self.led(&sql, arguments).await
    }

    /// Ends the open rollout, whoever leads it.
    ///
    /// # Errors
    /// When none is open.
    pub async fn abort(&self, by: &str) -> Result<OpenRow, StoreError> {
        self.expire_if_left().await?;
        self.transaction(async || {
            self.lock_rollouts().await?;
            let open = self.newest(true).await?.ok_or(StoreError::NoneOpen)?;
            self.end_open(&format!("aborted by {by}")).await?;
            Ok(open)
        })
        .await
    }

    /// Lets the stage of the open rollout stand still, or bake again.
    ///
    /// # Errors
    /// When none is open.
    pub async fn pause(&self, paused: bool) -> Result<OpenRow, StoreError> {
        self.expire_if_left().await?;
        self.transaction(async || {
            self.lock_rollouts().await?;
            let sql = "update tidegate.traffic_rollout set paused = $1 where outcome is null";
            self.run(sql, &[&paused]).await?;
            self.newest(true).await?.ok_or(StoreError::NoneOpen)
        })
        .await
    }

    /// Ends an open rollout, else puts an older revision in force, at once and everywhere; `check` says why the text
    /// of that one cannot be used, if it cannot.
    ///
    /// # Errors
    /// When there is nothing to go back to, or it cannot be used.
    pub async fn roll_back(
        &self,
        to: Option<u32>,
        by: &str,
        check: impl Fn(&StoredRevision) -> Result<(), String>,
    ) -> Result<PolicyRollback, StoreError> {
        if let Some(revision) = to.filter(|it| *it > 0) {
            self.revision(revision).await?;
        }
        self.expire_if_left().await?;
        self.transaction(async || {
            self.lock_rollouts().await?;
            let (open, in_force) = (self.newest(true).await?, self.in_force().await?);
            let revision = to.unwrap_or(in_force.base);
            if open.is_none() || to.is_some() {
                refuse_step(to, in_force)?;
                self.refuse_unusable(revision, in_force.by.revision, check)
                    .await?;
            }
            let ended = open.map(|open| open.rollout);
            if let Some(rollout) = ended {
                self.end_open(&format!("rolled back by {by}")).await?;
                if to.is_none() {
                    return Ok(PolicyRollback::Ended { rollout, in_force });
                }
            }
            let in_force = self.put_back(revision, in_force.by.revision, by).await?;
            Ok(PolicyRollback::Done { ended, in_force })
        })
        .await
    }

    /// Puts an older revision in force.
    async fn put_back(&self, revision: u32, from: u32, by: &str) -> Result<InForceRow, StoreError> {
        let base = self.base_of(revision).await?;
        let row = "(kind, revision, base, regions, leader, by, outcome, reason, ended_at) \
            values ('rollback', $1, $2, '{}', '', $3, 'done', $4, clock_timestamp())";
        let reason = format!("from revision {from}");
        let (number, below) = (int(revision), int(base));
        let by = self.insert(row, &[&number, &below, &by, &reason]).await?;
        Ok(InForceRow { by, base })
    }

    /// Refuses what gateways would refuse, and what was never seen to work.
    async fn refuse_unusable(
        &self,
        revision: u32,
        in_force: u32,
        check: impl Fn(&StoredRevision) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        if revision == 0 {
            return Ok(());
        }
        self.refuse_void(revision, in_force).await?;
        if !was_in_force(self, revision).await? {
            let known = to_go_back_to(self, in_force, floor(self).await?).await?;
            return Err(StoreError::NeverInForce { revision, known });
        }
        let stored = self.revision(revision).await?;
        refuse_unsigned(self, &stored).await?;
        let checked = check(&stored);
        checked.map_err(|why| StoreError::Unusable { revision, why })
    }

    /// Refuses a revision below the floor of one that was in force.
    async fn refuse_void(&self, revision: u32, in_force: u32) -> Result<(), StoreError> {
        let floor = floor(self).await?;
        if revision >= floor {
            return Ok(());
        }
        let known = to_go_back_to(self, in_force, floor).await?;
        Err(StoreError::Void {
            revision,
            floor,
            known,
        })
    }

    /// Writes that an open rollout has expired, if it has; whatever fails afterwards, that is kept.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn expire_if_left(&self) -> Result<(), StoreError> {
        self.transaction(async || self.run(EXPIRE, &[]).await.map(drop))
            .await
    }

    /// What was in force before a revision was rolled out.
    async fn base_of(&self, revision: u32) -> Result<u32, StoreError> {
        let sql = "select base from tidegate.traffic_rollout \
            where outcome = 'done' and kind = 'rollout' and revision = $1 order by rollout desc limit 1";
        let rows = self.rows(sql, &[&int(revision)]).await?;
        rows.first().map_or(Ok(0), |row| number(row, 0))
    }

    async fn lock_rollouts(&self) -> Result<(), StoreError> {
        let sql = "lock table tidegate.traffic_rollout in share row exclusive mode";
        self.run(sql, &[]).await.map(drop)
    }

    async fn end_open(&self, reason: &str) -> Result<(), StoreError> {
        let sql = "update tidegate.traffic_rollout \
            set outcome = 'aborted', reason = $1, ended_at = clock_timestamp() where outcome is null";
        self.run(sql, &[&reason]).await.map(drop)
    }

    /// Refuses to go on while a rollout is open.
    ///
    /// # Errors
    /// When one is open, or that cannot be read.
    pub async fn refuse_open(&self) -> Result<(), StoreError> {
        match self.newest(true).await? {
            None => Ok(()),
            Some(open) => Err(StoreError::Open {
                rollout: open.rollout,
                revision: open.revision,
                by: open.by,
                since: open.started_at,
            }),
        }
    }

    async fn led(&self, sql: &str, arguments: Arguments<'_>) -> Result<bool, StoreError> {
        self.transaction(async || Ok(self.run(sql, arguments).await? == 1))
            .await
    }
}

/// Refuses a rollback that does not go back.
fn refuse_step(to: Option<u32>, in_force: InForceRow) -> Result<(), StoreError> {
    let in_force = in_force.by.revision;
    match to {
        Some(revision) if revision > 0 && revision >= in_force => {
            Err(StoreError::NotOlder { revision, in_force })
        }
        _ if in_force == 0 => Err(StoreError::NothingBefore),
        Some(_) | None => Ok(()),
    }
}

fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
