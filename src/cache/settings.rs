//! `[cache]`: what an operator may set.

use tidegate_model::settings;
use tidegate_model::values::{ByteSize, ByteSizeOrZero};

settings! {
    /// `[cache]`: answers kept in memory.
    #[derive(Debug, Clone)]
    pub struct CacheSettings {
        /// Bytes of all answers together, with what keeping them takes; 0 turns the cache off.
        bytes_max: usize = 64 << 20, ByteSizeOrZero,
            low "answers are evicted before they are requested again.",
            high "the process outgrows its memory.";
        /// Largest answer that is kept; a larger one is fetched for every request. At most
        /// `bytes_max`.
        entry_bytes_max: usize = 1 << 20, ByteSize,
            low "large answers are fetched again and again.",
            high "a few large answers evict all others.";
    }
}
