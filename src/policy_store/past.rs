//! Which revisions were in force, and so which a rollback may go back to.

use super::StoreError;
use super::rows::number;
use super::session::StoreSession;
use tidegate_rollout::StoredRevision;

/// Most revisions that are named.
const NAMED_MAX: usize = 5;

/// Returns the greatest floor of a revision that was in force: what is below it is void.
///
/// Once a signed one was in force, those after it count only if they are signed too: gateways with keys do not take over
/// others, and any of them would void all that are signed.
pub(super) async fn floor(store: &StoreSession) -> Result<u32, StoreError> {
    let sql = "with own as (select rollout, revision, floor, signature is not null as signed \
            from tidegate.traffic_revision join tidegate.traffic_rollout using (revision) \
            where outcome = 'done'), \
        earliest as (select min(rollout) as rollout from own where signed) \
        select coalesce(max(own.floor), 0) from own, earliest where own.floor <= own.revision \
            and (own.signed or earliest.rollout is null or own.rollout < earliest.rollout)";
    let rows = store.rows(sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| number(row, 0))
}

/// Refuses a revision without a signature where a living gateway takes over only signed ones.
pub(super) async fn refuse_unsigned(
    store: &StoreSession,
    stored: &StoredRevision,
) -> Result<(), StoreError> {
    if stored.signature.is_some() {
        return Ok(());
    }
    let gateways = store.gateways().await?.into_iter();
    let mut refusing = gateways.filter(|it| it.follows() && it.arms.signed_only);
    refusing.next().map_or(Ok(()), |it| {
        Err(StoreError::Unsigned {
            revision: stored.revision,
            gateway: it.gateway,
        })
    })
}

/// Whether a revision was in force at some time; the built-in policy was.
pub(super) async fn was_in_force(store: &StoreSession, revision: u32) -> Result<bool, StoreError> {
    Ok(revision == 0
        || !were_in_force(store, revision, revision, 1)
            .await?
            .is_empty())
}

/// The newest revisions below a number that were in force and are not void, in words.
pub(super) async fn to_go_back_to(
    store: &StoreSession,
    below: u32,
    floor: u32,
) -> Result<String, StoreError> {
    let known = were_in_force(store, floor.max(1), below.saturating_sub(1), NAMED_MAX);
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
async fn were_in_force(
    store: &StoreSession,
    from: u32,
    to: u32,
    most: usize,
) -> Result<Vec<u32>, StoreError> {
    let sql = format!(
        "select distinct revision from tidegate.traffic_rollout where outcome = 'done' \
         and revision between {from} and {to} order by revision desc limit {most}"
    );
    let rows = store.rows(&sql, &[]).await?;
    rows.iter().map(|row| number(row, 0)).collect()
}
