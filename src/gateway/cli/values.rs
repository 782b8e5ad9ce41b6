//! Values of arguments that have a form of their own.

use std::time::Duration;

/// Reads a duration.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 90s or 1h";
    humantime::parse_duration(text).map_err(|why| format!("{why}; {expected}"))
}

/// Longest bake and longest wait for gateways: the leading process stays that long in each stage.
const STAGE_MAX: Duration = Duration::from_hours(7 * 24);

/// Reads how long something in a stage takes.
pub(super) fn stage_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let is_meant = !time.is_zero() && time <= STAGE_MAX;
    is_meant
        .then_some(time)
        .ok_or_else(|| "expected more than 0 and at most 7 days, such as 60s".to_owned())
}

/// Reads a share, of 10,000.
pub(super) fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').and_then(|it| it.parse().ok());
    let share = number.filter(|it: &f64| (0.0..=100.0).contains(it));
    let share = share.ok_or("expected a share such as 10%")?;
    Ok((share * 100.0).round() as u32)
}

/// Reads the number of a revision.
pub(super) fn revision(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|it| i32::try_from(*it).is_ok());
    let expected = "expected a number up to 2147483647, such as `tidegate policy list` shows";
    number.ok_or_else(|| expected.to_owned())
}
