//! Windows: periods in which regions are drained or clauses replaced.
//!
//! Only data: which windows are open at an instant is computed elsewhere, because it needs a zone
//! database.

use crate::plan::{Clauses, RegionMask};

/// Most windows of a plan: a set of open ones is one word.
pub const WINDOWS_MAX: usize = 64;

/// `window NAME { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub name: Box<str>,
    /// When it is open: in any of these.
    pub periods: Vec<Period>,
    /// Its effect.
    pub effect: WindowEffect,
}

/// What an open window does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowEffect {
    /// These regions get no new requests.
    Drain(RegionMask),
    /// These clauses override those of policies and defaults.
    Replace(Clauses),
}

/// One period, from its begin to before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Period {
    /// On days of the week, in a zone's time.
    Every {
        /// The days on which it begins: bit 0 is Monday.
        weekdays: u8,
        /// Minutes since midnight.
        begin_minute: u16,
        /// Minutes since midnight; before `begin_minute` it is on the next day.
        end_minute: u16,
        /// A name of the IANA database.
        zone: Box<str>,
    },
    /// Once, in milliseconds since 1970.
    Once {
        /// When it begins.
        begin_ms: i64,
        /// When it is over.
        end_ms: i64,
    },
}

/// The windows that are open: bit n is the plan's window n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenWindows(pub u64);

impl OpenWindows {
    /// Returns whether a window is open.
    pub const fn has(self, window: usize) -> bool {
        window < WINDOWS_MAX && self.0 & (1 << window) != 0
    }
}
