//! The files of a certificate are looked at, and renewed ones are taken over.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use super::acceptor::TlsAcceptor;
use super::certificate::{Certificate, CertificateError, ContentDigest};
use tidegate_telemetry::{Throttle, names};

/// Time between two looks. Both files are a few KiB and in the page cache.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long the files may not fit together before that is a mistake: programs that renew them write
/// one after the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often an expired certificate is in the log.
const EXPIRED_INTERVAL: Duration = Duration::from_secs(3600);

/// What follows from a look.
#[derive(Debug)]
enum Step {
    /// Nothing has changed, or it is too early to judge.
    Wait,
    /// A certificate to use.
    Renew(Certificate),
    /// Content that cannot be used, for the first time.
    Refuse(CertificateError),
}

/// What is known about the content of the files.
#[derive(Debug)]
struct Seen {
    /// Of the certificate in force.
    used: ContentDigest,
    /// Of the last look.
    last: ContentDigest,
    since: Instant,
    /// Whether the log says that the last content cannot be used.
    is_refused: bool,
}

impl Seen {
    fn new(used: ContentDigest) -> Self {
        Self {
            used,
            last: used,
            since: Instant::now(),
            is_refused: false,
        }
    }

    /// Judges a look; `parse` makes a certificate of the content.
    fn look(
        &mut self,
        digest: ContentDigest,
        now: Instant,
        parse: impl FnOnce() -> Result<Certificate, CertificateError>,
    ) -> Step {
        if digest != self.last {
            (self.last, self.since, self.is_refused) = (digest, now, false);
        }
        if digest == self.used {
            return Step::Wait;
        }
        // Also content that was refused: the time may have come from which on it is valid.
        match parse() {
            Ok(certificate) => {
                self.used = digest;
                Step::Renew(certificate)
            }
            Err(error) if !self.is_refused && now - self.since >= PATIENCE => {
                self.is_refused = true;
                Step::Refuse(error)
            }
            Err(_) => Step::Wait,
        }
    }
}

impl TlsAcceptor {
    /// Looks at the files four times a second, through symbolic links, and uses what they contain as
    /// soon as it is a valid pair. Content that is not changes nothing and is in the log once. Never
    /// ends.
    pub async fn keep_renewed(self: Arc<Self>) {
        let mut seen = Seen::new(self.certificate().digest);
        let mut expired = Throttle::new(EXPIRED_INTERVAL);
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for outcome in ["renewed", "refused"] {
            metrics::counter!(names::TLS_RENEWALS, "outcome" => outcome).increment(0);
        }
        loop {
            looks.tick().await;
            self.show_expiry(&mut expired);
            let files = self.files.clone();
            let Ok((content, digest)) = tokio::task::spawn_blocking(move || {
                let content = files.read();
                let digest = content.digest();
                (content, digest)
            })
            .await
            else {
                continue;
            };
            let parse = || self.files.parse(&content, SystemTime::now());
            let step = seen.look(digest, Instant::now(), parse);
            self.take(step);
        }
    }

    fn take(&self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Renew(certificate) => {
                let not_after = humantime::format_rfc3339_seconds(certificate.not_after);
                self.renew(certificate);
                metrics::counter!(names::TLS_RENEWALS, "outcome" => "renewed").increment(1);
                tracing::info!(%not_after, "the TLS certificate was renewed");
            }
            Step::Refuse(error) => {
                metrics::counter!(names::TLS_RENEWALS, "outcome" => "refused").increment(1);
                tracing::warn!(%error, "kept the old TLS certificate: the new one cannot be used");
            }
        }
    }

    fn show_expiry(&self, expired: &mut Throttle) {
        let not_after = self.certificate().not_after;
        let seconds = not_after.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = seconds.unwrap_or_default().as_secs_f64();
        metrics::gauge!(names::TLS_NOT_AFTER).set(seconds);
        if SystemTime::now() > not_after && expired.pass(Instant::now()).is_some() {
            let file = self.files.certificate.display();
            let not_after = humantime::format_rfc3339_seconds(not_after);
            tracing::error!(%file, %not_after, "the TLS certificate has expired");
        }
    }
}
