//! What has become of a request that a tunnel did not bring an answer to.

use std::error::Error;

use h2::Reason;

use crate::http::Unprocessed;

/// Why a region has not served a request that was handed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelFailure {
    /// No tunnel to it is open, all are full, or none has taken the request: nothing of it was acted on.
    NoTunnel,
    /// Its gateway says that nothing was done.
    Unprocessed(Unprocessed),
    /// The request's stream was reset alone.
    Reset,
    /// The tunnel was lost before the head of an answer.
    Lost,
    /// Its time is over.
    Deadline,
    /// Its time was over before it was sent.
    NoTime,
}

impl TunnelFailure {
    /// The name in spans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoTunnel => "no-tunnel",
            Self::Unprocessed(_) => "unprocessed",
            Self::Reset => "reset",
            Self::Lost => "lost",
            Self::Deadline | Self::NoTime => "timeout",
        }
    }

    /// Reads the error of a connection on which a request was sent.
    pub(super) fn of(error: &hyper::Error) -> Self {
        // Never given to the connection.
        if error.is_canceled() {
            return Self::NoTunnel;
        }
        match cause(error) {
            Some(cause) if cause.reason() == Some(Reason::REFUSED_STREAM) => Self::NoTunnel,
            // A GOAWAY without an error fails only the streams that it leaves out.
            Some(cause) if cause.is_go_away() && cause.reason() == Some(Reason::NO_ERROR) => {
                Self::NoTunnel
            }
            Some(cause) if cause.is_reset() => Self::Reset,
            _ => Self::Lost,
        }
    }
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.find_map(|cause| cause.downcast_ref())
}
