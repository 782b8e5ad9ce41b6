//! Compression of answers for the clients that accept it.
//!
//! Deliberately absent: requests' bodies, 406 (an answer that no listed coding suits goes out plain), and any
//! work for an answer that has a coding already.

mod coding;
mod settings;
mod accepted;
mod eligible;
mod encoder;
mod body;
mod forms;
mod apply;

pub use apply::{Compression, NotSent, Stored, StoredBody, StoredCoding};
use body::Compressed;
use coding::Coding;
pub use forms::CompressedForms;
pub use settings::CompressionSettings;
