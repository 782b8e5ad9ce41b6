//! Where addresses are, from a file in MaxMind's format.

use std::fmt;
use std::io;
use std::net::IpAddr;

use maxminddb::{MaxMindDbError, Reader, path};
use tidegate_model::read_file;
use tidegate_traffic::place::GeoPoint;
use tidegate_traffic::plan::Country;

/// Largest file that is read: the largest of MaxMind's own take some hundred MiB.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// An address database in memory.
pub struct GeoDatabase(Reader<Vec<u8>>);

/// Why a database cannot be used. Displays without its name.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not a whole database.
    #[error("is damaged or not in MaxMind's format: {0}")]
    Damaged(#[from] MaxMindDbError),
}

impl fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GeoDatabase").finish()
    }
}

impl GeoDatabase {
    /// Reads a file into memory and verifies all of it, so that no lookup meets a damaged part.
    ///
    /// # Errors
    /// When the file cannot be read, or any part of it is not valid.
    pub fn read(name: &str) -> Result<Self, GeoError> {
        Self::of(read_file(name, FILE_BYTES_MAX)?)
    }

    /// Verifies the bytes of a database.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of(bytes: Vec<u8>) -> Result<Self, GeoError> {
        let reader = Reader::from_source(bytes)?;
        reader.verify()?;
        Ok(Self(reader))
    }

    /// Returns the country and the location of an address, as far as they are known.
    pub(super) fn locate(&self, address: IpAddr) -> (Option<Country>, Option<GeoPoint>) {
        let Ok(found) = self.0.lookup(address) else {
            return (None, None);
        };
        let country = found.decode_path::<&str>(&path!["country", "iso_code"]);
        let degrees = |name| {
            let value = found.decode_path::<f64>(&path!["location", name]);
            value.ok().flatten()
        };
        let place = degrees("latitude").zip(degrees("longitude"));
        (
            country.ok().flatten().and_then(|code| code.parse().ok()),
            place.and_then(|(latitude, longitude)| GeoPoint::new(latitude, longitude)),
        )
    }
}
