//! How many requests one client may send, as written in a policy row: `100/s`, or
//! `600/min;burst=50`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// Most requests and largest burst that can be configured; more would not be a limit.
const REQUESTS_MAX: u32 = 1_000_000;

/// Longest time in which a spent burst may be restored. A client is remembered for that long.
const REFILL_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How many requests one client may send: `requests` per `window` in the long run, and up to
/// `burst` at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that are restored in every window, evenly spread over it.
    pub requests: NonZeroU32,
    /// The time in which they are restored.
    pub window: LimitWindow,
    /// Requests that a client may send at once after a pause; `requests` unless configured. If it
    /// is too low, a page that loads its parts in parallel is refused.
    pub burst: NonZeroU32,
}

/// A unit of time in a [`RateLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitWindow {
    /// `s`
    Second,
    /// `min`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
}

impl RateLimit {
    /// The time in which one request is restored.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.window.duration() / self.requests.get()
    }

    /// The time in which a spent burst is restored.
    #[must_use]
    pub fn refill(&self) -> Duration {
        self.interval() * self.burst.get()
    }
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let (rate, burst) = match text.split_once(';') {
            Some((rate, parameter)) => {
                let burst = parameter.trim().strip_prefix("burst=");
                (rate, Some(burst.ok_or(RateLimitError::Form)?))
            }
            None => (text, None),
        };
        let (requests, window) = rate.split_once('/').ok_or(RateLimitError::Form)?;
        let requests = count(requests.trim())?;
        let limit = Self {
            requests,
            window: window.trim().parse()?,
            burst: burst.map(count).transpose()?.unwrap_or(requests),
        };
        if limit.refill() > REFILL_MAX {
            return Err(RateLimitError::Refill);
        }
        Ok(limit)
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.window)?;
        if self.burst != self.requests {
            write!(f, ";burst={}", self.burst)?;
        }
        Ok(())
    }
}

impl LimitWindow {
    /// Its length.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

impl FromStr for LimitWindow {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        match text {
            "s" => Ok(Self::Second),
            "min" => Ok(Self::Minute),
            "h" => Ok(Self::Hour),
            "d" => Ok(Self::Day),
            _ => Err(RateLimitError::Form),
        }
    }
}

impl fmt::Display for LimitWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "d",
        })
    }
}

/// Why a text is not a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitError {
    /// It does not have the form of a rate limit.
    #[error("expected requests per s, min, h or d, such as `100/s` or `600/min;burst=50`")]
    Form,
    /// A number is zero or too large.
    #[error("its numbers must be from 1 to {REQUESTS_MAX}")]
    Count,
    /// The burst is too large for the rate.
    #[error("the burst must be restored within 30 days")]
    Refill,
}

fn count(text: &str) -> Result<NonZeroU32, RateLimitError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RateLimitError::Form);
    }
    let number = text.parse().ok().filter(|number| *number <= REQUESTS_MAX);
    number
        .and_then(NonZeroU32::new)
        .ok_or(RateLimitError::Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<RateLimit, RateLimitError> {
        text.parse()
    }

    #[test]
    fn a_limit_is_read_and_written_in_one_form() {
        for text in ["100/s", "600/min;burst=50", "1/h", "5/d;burst=6"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        let loose = parsed(" 600 / min ; burst=600 ").unwrap();
        assert_eq!(loose.to_string(), "600/min", "the burst says nothing new");
        assert_eq!(loose.interval(), Duration::from_millis(100));
        assert_eq!(loose.refill(), Duration::from_secs(60));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_what_is_wrong() {
        use RateLimitError::{Count, Form, Refill};
        for (text, error) in [
            ("", Form),
            ("100", Form),
            ("100/", Form),
            ("100/m", Form),
            ("100/10s", Form),
            ("+1/s", Form),
            ("1.5/s", Form),
            ("100/s;", Form),
            ("100/s;bursts=5", Form),
            ("100/s;burst=5;burst=6", Form),
            ("0/s", Count),
            ("1/s;burst=0", Count),
            ("1000001/s", Count),
            ("99999999999/s", Count),
            ("1/d;burst=31", Refill),
            ("1/d;burst=1000000", Refill),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
        assert!(parsed("1000000/s;burst=1000000").is_ok());
        assert!(parsed("1/d;burst=30").is_ok());
    }
}
