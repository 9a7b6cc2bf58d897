//! Wall-clock time as jobs carry it, and durations as people write them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in wall-clock time, in whole milliseconds since the Unix epoch.
///
/// On the wire and on screens it is RFC 3339 in UTC; in stores it is the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// This machine's clock.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// As a header of HTTP has it: `Tue, 24 Nov 2026 20:21:49 GMT`.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let at = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Self(at.timestamp().as_millisecond()))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time that passed since `earlier`; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the end of time instead of wrapping.
    fn add(self, wait: Duration) -> Self {
        let ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(ms))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    /// Stops at the earliest time.
    fn sub(self, wait: Duration) -> Self {
        let ms = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = jiff::SignedDuration::from_millis(self.0);
        match jiff::Timestamp::from_duration(since) {
            Ok(at) => write!(f, "{at:.3}"),
            // Beyond what can be written: as late as can be, so that it can be read again.
            Err(_) => write!(f, "{:.3}", jiff::Timestamp::MAX),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a time or a duration.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339.
    #[error("`{0}` is not a time; write RFC 3339, such as 2027-01-31T09:30:00Z")]
    Instant(String),
    /// Not a duration.
    #[error("`{0}` is not a duration; write for example 250ms, 30s, 1h30m or 7d")]
    Duration(String),
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self(at.as_millisecond()))
            .map_err(|_| TimeError::Instant(clip(text)))
    }
}

/// Reads `250ms`, `30s`, `5m`, `1h30m`, `7d` (of 24 hours); a bare number is seconds.
///
/// # Errors
/// When the text is anything else, or negative.
pub fn parse_duration(text: &str) -> Result<Duration, TimeError> {
    let wrong = || TimeError::Duration(clip(text));
    if let Ok(seconds) = text.parse::<f64>() {
        let wait = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        // Longer than this cannot be written.
        return jiff::SignedDuration::try_from(wait)
            .map(|_| wait)
            .map_err(|_| wrong());
    }
    let hours: Result<jiff::SignedDuration, _> = text.parse();
    let signed = hours.or_else(|_| {
        let days: jiff::Span = text.parse()?;
        days.to_duration(jiff::SpanRelativeTo::days_are_24_hours())
    });
    Duration::try_from(signed.map_err(|_| wrong())?).map_err(|_| wrong())
}

/// Writes a duration the way [`parse_duration`] reads it: `1h30m`, `250ms`.
pub fn show_duration(wait: Duration) -> String {
    let Ok(signed) = jiff::SignedDuration::try_from(wait) else {
        return format!("{}s", wait.as_secs());
    };
    format!("{signed:#}").replace(' ', "")
}

/// Keeps what goes into an error message short, whatever came from outside.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_it_is_read() {
        let at: Timestamp = "2027-01-31T10:30:00.250+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2027-01-31T09:30:00.250Z");
        assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
        let last: Timestamp = "9999-12-30T22:00:00.250Z".parse().unwrap();
        assert_eq!(last.to_string(), "9999-12-30T22:00:00.250Z");
    }

    #[test]
    fn durations_are_read_in_human_units() {
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("1.5").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("7d").unwrap(), Duration::from_hours(168));
        assert_eq!(parse_duration("1d01h").unwrap(), Duration::from_hours(25));
        for wrong in [
            "",
            "soon",
            "-5s",
            "-1d",
            "1 month",
            "5 parsecs",
            "NaN",
            "inf",
            "9223372036854775808",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shown_duration_is_read_back() {
        for ms in [0, 1, 250, 1000, 90_000, 5_400_000] {
            let wait = Duration::from_millis(ms);
            assert_eq!(
                parse_duration(&show_duration(wait)).unwrap(),
                wait,
                "{ms} ms"
            );
        }
    }

    #[test]
    fn adding_saturates() {
        assert_eq!(
            (Timestamp::from_millis(i64::MAX) + Duration::MAX).as_millis(),
            i64::MAX
        );
    }
}
