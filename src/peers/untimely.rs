//! A certificate that is not valid at this time, but is valid at another.

use std::fmt;

use rustls::pki_types::{CertificateDer, UnixTime};

use super::identity::{not_after, not_before};

/// When a certificate is valid instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untimely {
    /// Later.
    Early,
    /// Before.
    Expired,
}

impl Untimely {
    /// Looks at a certificate now; `None` if it is valid.
    pub(super) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        match (not_before(leaf)?, not_after(leaf)?) {
            (begin, _) if begin > now => Some(Self::Early),
            (_, end) if end < now => Some(Self::Expired),
            _ => None,
        }
    }
}

impl fmt::Display for Untimely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Early => "is not valid yet",
            Self::Expired => "is expired",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_valid_yet_is_told_from_an_expired_one() {
        let of = |begin, end| {
            let mut params = rcgen::CertificateParams::default();
            params.not_before = rcgen::date_time_ymd(begin, 1, 1);
            params.not_after = rcgen::date_time_ymd(end, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            Untimely::of(params.self_signed(&key).unwrap().der())
        };
        assert_eq!(of(2100, 2101), Some(Untimely::Early));
        assert_eq!(of(2000, 2001), Some(Untimely::Expired));
        assert_eq!(of(2000, 2101), None);
    }
}
