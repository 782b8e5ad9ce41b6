//! The messages of `proto/tidegate/fleet/v1/health.proto`, which a test holds beside these.

use prost::Message;

use crate::dropped::Dropped;

/// The largest Update; what a region can have to say is a tenth of it.
pub const UPDATE_BYTES_MAX: usize = 64 * 1024;

/// Asks for all records of the region of the gateway that is asked.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct WatchRequest {}

/// Asks the gateway to drain its region.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DrainRequest {
    /// For how long; 0 ends the drain.
    #[prost(uint32, tag = "1")]
    pub seconds: u32,
    /// Even where no other region would be well and undrained.
    #[prost(bool, tag = "2")]
    pub force: bool,
}

impl DrainRequest {
    /// Returns the message.
    pub fn encoded(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads what a peer sent.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }
}

/// It was done.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct DrainResponse {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Update {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<Record>,
    #[prost(fixed64, repeated, tag = "2")]
    pub(crate) gone: Vec<u64>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Record {
    #[prost(fixed64, tag = "1")]
    pub(crate) gateway: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) sequence: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) quantities: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(crate) conditions: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) revision: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) drain_version: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) drain_seconds: u32,
}

impl Update {
    /// Reads what a peer sent. Takes memory of 32 times the bytes at most, until it is looked through.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Dropped> {
        if bytes.len() > UPDATE_BYTES_MAX {
            return Err(Dropped::Malformed);
        }
        Self::decode(bytes).map_err(|_error| Dropped::Malformed)
    }
}
