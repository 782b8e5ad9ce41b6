//! When windows are open.
//!
//! Civil times become instants by the `compatible` rule of RFC 5545 and Temporal: a time that a
//! zone skips is moved later by the skipped amount; of a time that occurs twice, the first counts.
//! The zone database is compiled in, so all gateways of one version agree.

use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};

use crate::plan::{OpenWindows, Period, Window};

/// The zones that are compiled in.
pub(crate) static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The days of the week, as policies name them.
pub(crate) const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// The windows of a plan, prepared for lookups.
#[derive(Clone, Debug)]
pub struct Schedule {
    windows: Vec<Vec<Recurrence>>,
}

impl Schedule {
    /// Prepares windows: bit n of the result of [`Self::open`] is the n-th window.
    pub fn new(windows: &[Window]) -> Self {
        let periods = windows.iter().map(|window| window.periods.iter());
        Self {
            windows: periods
                .map(|all| all.filter_map(Recurrence::new).collect())
                .collect(),
        }
    }

    /// Returns the windows that are open at an instant, in milliseconds since 1970.
    pub fn open(&self, now_ms: i64) -> OpenWindows {
        let open = |periods: &Vec<Recurrence>| periods.iter().any(|period| period.is_open(now_ms));
        let windows = self.windows.iter().enumerate();
        let bits = windows.filter(|(_, periods)| open(periods));
        OpenWindows(bits.fold(0, |set, (at, _)| set | 1 << at))
    }

    /// Returns when a window opens or closes next; `None` if none ever does again.
    ///
    /// May be too early if several periods of one window overlap, but never too late.
    pub fn next_change(&self, now_ms: i64) -> Option<i64> {
        let periods = self.windows.iter().flatten();
        periods
            .filter_map(|period| period.next_change(now_ms))
            .min()
    }
}

/// A period, with its zone looked up.
#[derive(Clone, Debug)]
pub(crate) enum Recurrence {
    /// On days of the week.
    Every {
        /// Bit 0 is Monday.
        weekdays: u8,
        begin: u16,
        end: u16,
        zone: TimeZone,
    },
    /// Once, from and to.
    Once(i64, i64),
}

impl Recurrence {
    /// Returns nothing for a zone that does not exist.
    pub(crate) fn new(period: &Period) -> Option<Self> {
        Some(match period {
            Period::Every {
                weekdays,
                begin_minute,
                end_minute,
                zone,
            } => Self::Every {
                weekdays: *weekdays,
                begin: *begin_minute,
                end: *end_minute,
                zone: ZONES.get(zone).ok()?,
            },
            Period::Once { begin_ms, end_ms } => Self::Once(*begin_ms, *end_ms),
        })
    }

    /// Returns when it begins and ends if it begins on a given day.
    pub(crate) fn on(&self, day: Date) -> Option<(i64, i64)> {
        let Self::Every {
            weekdays,
            begin,
            end,
            zone,
        } = self
        else {
            return None;
        };
        let weekday = day.weekday().to_monday_zero_offset();
        if weekdays & (1 << weekday) == 0 {
            return None;
        }
        let last = if end < begin {
            day.tomorrow().ok()?
        } else {
            day
        };
        let begin = instant(zone, day, *begin)?;
        let end = instant(zone, last, *end)?;
        // A zone may skip all of it.
        (begin < end).then_some((begin, end))
    }

    fn is_open(&self, now_ms: i64) -> bool {
        self.near(now_ms, 1)
            .any(|(begin, end)| begin <= now_ms && now_ms < end)
    }

    fn next_change(&self, now_ms: i64) -> Option<i64> {
        let ends = self.near(now_ms, 8).flat_map(|(begin, end)| [begin, end]);
        ends.filter(|end| *end > now_ms).min()
    }

    /// Returns when it begins and ends, from the day before yesterday for a number of days.
    fn near(&self, now_ms: i64, days: i8) -> impl Iterator<Item = (i64, i64)> {
        let (once, today) = match self {
            Self::Once(begin, end) => (Some((*begin, *end)), None),
            Self::Every { zone, .. } => {
                let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
                (None, Some(zone.to_datetime(now).date()))
            }
        };
        let days = today.into_iter().flat_map(move |today| {
            (-2..=days).filter_map(move |on| today.checked_add(i64::from(on).days()).ok())
        });
        once.into_iter().chain(days.filter_map(|day| self.on(day)))
    }
}

fn instant(zone: &TimeZone, day: Date, minute: u16) -> Option<i64> {
    let minute = minute % DAY;
    let time = day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
    let instant = zone.to_ambiguous_timestamp(time).compatible().ok()?;
    Some(instant.as_millisecond())
}
