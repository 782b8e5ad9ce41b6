//! Why a peer's certificate is not accepted.

use webpki::Error;

/// The closed set of `reason` in `tidegate_fleet_handshakes_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer has presented none.
    #[error("no certificate was presented")]
    None,
    /// It is not signed by the fleet's CA, or cannot be read.
    #[error("the certificate is not signed by the fleet's CA")]
    Untrusted,
    /// It is not valid at this time.
    #[error("the certificate is expired or not yet valid")]
    Expired,
    /// A list of the CA revokes it.
    #[error("the certificate is revoked")]
    Revoked,
    /// It is a CA, or not for servers and clients.
    #[error("the certificate is a CA's, or not for servers and clients")]
    Usage,
    /// It names no region, or several.
    #[error("the certificate does not have exactly one URI tidegate://region/…")]
    NoRegion,
    /// It is of a region that is not expected there.
    #[error("the certificate is of a region that is not expected there")]
    Region,
}

impl Refusal {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::None,
        Self::Untrusted,
        Self::Expired,
        Self::Revoked,
        Self::Usage,
        Self::NoRegion,
        Self::Region,
    ];

    /// Returns the value of the label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Usage => "usage",
            Self::NoRegion => "no-region",
            Self::Region => "region",
        }
    }

    /// Finds the reason in the error of a handshake, if a certificate was it.
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(refusal) = error.downcast_ref::<Self>() {
            return Some(*refusal);
        }
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::NoCertificatesPresented) => return Some(Self::None),
            Some(rustls::Error::Other(other)) => return Self::of(&*other.0),
            _ => {}
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return Self::of(error.get_ref()?);
        }
        Self::of(error.source()?)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => Self::Expired,
            Error::CertRevoked => Self::Revoked,
            Error::CaUsedAsEndEntity | Error::RequiredEkuNotFoundContext(_) => Self::Usage,
            _ => Self::Untrusted,
        }
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::Other(rustls::OtherError(std::sync::Arc::new(refusal)))
    }
}
