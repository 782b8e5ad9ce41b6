//! An open connection ends when its peer's certificate counts no more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;

use super::credentials::Credentials;
use super::identity::not_after;
use super::refusal::Refusal;

/// With what it takes to end, a connection that a new CA does not verify ends within ten seconds.
pub(super) const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// How long requests may take to finish on a connection whose certificate counts no more.
pub(super) const GOODBYE_MAX: Duration = Duration::from_secs(4);

/// An open connection outlives its certificate by an hour at most, in seconds.
const OUTLIVES_MAX: i64 = 60 * 60;

/// The certificates that a peer has shown.
pub(super) type Shown = Vec<CertificateDer<'static>>;

/// Completes when the certificates of an open connection are no longer accepted.
pub(super) async fn until_refused(credentials: &ArcSwap<Credentials>, shown: &Shown) {
    loop {
        sleep(LOOKED_AT_EVERY).await;
        let refused = match credentials.load().region_of(shown) {
            Ok(_) => None,
            Err(Refusal::Expired) if !has_long_expired(shown) => None,
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refused {
            tracing::warn!(
                reason = refusal.as_str(),
                "an open connection to a peer is ended"
            );
            return;
        }
    }
}

fn has_long_expired(shown: &Shown) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let end = shown.first().and_then(not_after);
    end.is_none_or(|end| now > end.saturating_add(OUTLIVES_MAX))
}
