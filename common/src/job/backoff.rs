//! How long to wait before the next attempt.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{parse_duration, show_duration};

/// Longest wait between two attempts: what the broker's delay levels can hold, less jitter.
const DELAY_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const LIST_LEN_MAX: usize = 32;

/// How long to wait before the next attempt. Valid by construction.
///
/// Written `exponential(1s,2,1h)`, `fixed(30s)`, `list(1s,10s,5m)` or `none`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Exponential {
        base: Duration,
        factor: f64,
        cap: Duration,
    },
    Fixed(Duration),
    List(Vec<Duration>),
    None,
}

/// A backoff that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BackoffError {
    /// Not in the grammar.
    #[error(
        "`{0}` is not a backoff; write exponential(1s,2,1h), fixed(30s), list(1s,10s,5m) or none"
    )]
    Unreadable(String),
    /// A delay beyond the limit.
    #[error("a backoff of {0:?} is longer than the limit of 365 days")]
    TooLong(Duration),
    /// A factor that does not grow.
    #[error("a backoff factor of {0} is not between 1 and 100")]
    Factor(f64),
    /// A cap below the base.
    #[error("the cap {cap:?} is below the base {base:?}")]
    CapBelowBase {
        /// First delay.
        base: Duration,
        /// Largest delay.
        cap: Duration,
    },
    /// No delays, or too many.
    #[error("a list of {0} delays; it must hold 1 to 32")]
    ListLength(usize),
}

impl Default for Backoff {
    /// 1 s, doubled each time, up to 1 h.
    fn default() -> Self {
        Self(Kind::Exponential {
            base: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(3600),
        })
    }
}

impl Backoff {
    /// `base` × `factor` ^ (attempt − 1), at most `cap`, then full jitter: a random wait between
    /// zero and that, so that jobs that failed together do not come back together.
    ///
    /// # Errors
    /// For a factor outside 1–100, a cap below the base or above 365 days.
    pub fn exponential(base: Duration, factor: f64, cap: Duration) -> Result<Self, BackoffError> {
        if !(1.0..=100.0).contains(&factor) {
            return Err(BackoffError::Factor(factor));
        }
        if cap < base {
            return Err(BackoffError::CapBelowBase { base, cap });
        }
        limit(cap)?;
        Ok(Self(Kind::Exponential { base, factor, cap }))
    }

    /// The same wait every time, without jitter.
    ///
    /// # Errors
    /// Above 365 days.
    pub fn fixed(wait: Duration) -> Result<Self, BackoffError> {
        limit(wait).map(|wait| Self(Kind::Fixed(wait)))
    }

    /// These waits in turn, without jitter; the last one repeats.
    ///
    /// # Errors
    /// Without any, with more than 32, or with one above 365 days.
    pub fn list(waits: Vec<Duration>) -> Result<Self, BackoffError> {
        if waits.is_empty() || waits.len() > LIST_LEN_MAX {
            return Err(BackoffError::ListLength(waits.len()));
        }
        waits.iter().try_for_each(|wait| limit(*wait).map(drop))?;
        Ok(Self(Kind::List(waits)))
    }

    /// No wait: the next attempt is queued at once.
    pub const fn none() -> Self {
        Self(Kind::None)
    }

    /// The wait after attempt number `failed` (from 1). `jitter` is a random number in 0..=1.
    pub fn delay(&self, failed: u32, jitter: f64) -> Duration {
        match &self.0 {
            Kind::Exponential { .. } => self.ceiling(failed).mul_f64(jitter.clamp(0.0, 1.0)),
            _ => self.ceiling(failed),
        }
    }

    /// The longest wait after attempt number `failed` (from 1).
    pub fn ceiling(&self, failed: u32) -> Duration {
        let past = failed.saturating_sub(1);
        match &self.0 {
            Kind::Exponential { base, factor, cap } => {
                let grown =
                    base.as_secs_f64() * factor.powi(i32::try_from(past).unwrap_or(i32::MAX));
                Duration::try_from_secs_f64(grown).map_or(*cap, |wait| wait.min(*cap))
            }
            Kind::Fixed(wait) => *wait,
            Kind::List(waits) => waits[(past as usize).min(waits.len() - 1)],
            Kind::None => Duration::ZERO,
        }
    }
}

fn limit(wait: Duration) -> Result<Duration, BackoffError> {
    if wait > DELAY_MAX {
        Err(BackoffError::TooLong(wait))
    } else {
        Ok(wait)
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exponential { base, factor, cap } => {
                write!(
                    f,
                    "exponential({},{factor},{})",
                    show_duration(*base),
                    show_duration(*cap)
                )
            }
            Kind::Fixed(wait) => write!(f, "fixed({})", show_duration(*wait)),
            Kind::List(waits) => {
                let waits: Vec<_> = waits.iter().map(|wait| show_duration(*wait)).collect();
                write!(f, "list({})", waits.join(","))
            }
            Kind::None => f.write_str("none"),
        }
    }
}

impl FromStr for Backoff {
    type Err = BackoffError;

    fn from_str(text: &str) -> Result<Self, BackoffError> {
        let wrong = || BackoffError::Unreadable(text.chars().take(80).collect());
        let wait = |part: &str| parse_duration(part.trim()).map_err(|_| wrong());
        if text == "none" {
            return Ok(Self::none());
        }
        let (word, rest) = text.split_once('(').ok_or_else(wrong)?;
        let parts: Vec<&str> = rest
            .strip_suffix(')')
            .ok_or_else(wrong)?
            .split(',')
            .collect();
        match (word, parts.as_slice()) {
            ("exponential", [base, factor, cap]) => {
                let factor = factor.trim().parse().map_err(|_| wrong())?;
                Self::exponential(wait(base)?, factor, wait(cap)?)
            }
            ("fixed", [one]) => Self::fixed(wait(one)?),
            ("list", waits) => Self::list(
                waits
                    .iter()
                    .map(|part| wait(part))
                    .collect::<Result<_, _>>()?,
            ),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn impossible_policies_are_refused_when_built() {
        assert!(Backoff::exponential(SECOND, 0.5, SECOND).is_err());
        assert!(Backoff::exponential(SECOND, f64::NAN, SECOND).is_err());
        assert!(Backoff::exponential(SECOND * 2, 2.0, SECOND).is_err());
        assert!(Backoff::fixed(DELAY_MAX + SECOND).is_err());
        assert!(Backoff::list(vec![]).is_err());
        assert!(Backoff::list(vec![SECOND; 33]).is_err());
        for wrong in [
            "",
            "fixed",
            "fixed(",
            "fixed(1s,2s)",
            "exponential(1s)",
            "random(1s)",
        ] {
            assert!(wrong.parse::<Backoff>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_doubles_from_one_second_to_one_hour() {
        let waits: Vec<u64> = (1..=14)
            .map(|n| Backoff::default().ceiling(n).as_secs())
            .collect();
        assert_eq!(
            waits,
            [
                1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600
            ]
        );
    }

    #[test]
    fn the_last_delay_of_a_list_repeats() {
        let list: Backoff = "list(1s,5s)".parse().unwrap();
        assert_eq!(
            [1, 2, 3, 99].map(|n| list.delay(n, 0.3).as_secs()),
            [1, 5, 5, 5]
        );
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_its_ceiling_and_cap(
            base_ms in 0u64..100_000, factor in 1.0f64..100.0, cap_ms in 0u64..10_000_000,
            failed in 0u32..u32::MAX, jitter in -1.0f64..2.0,
        ) {
            let (base, cap) = (Duration::from_millis(base_ms), Duration::from_millis(cap_ms));
            prop_assume!(cap >= base);
            let backoff = Backoff::exponential(base, factor, cap).unwrap();
            prop_assert!(backoff.delay(failed, jitter) <= backoff.ceiling(failed));
            prop_assert!(backoff.ceiling(failed) <= cap);
            prop_assert!(backoff.ceiling(failed) <= backoff.ceiling(failed.saturating_add(1)));
        }

        #[test]
        fn a_backoff_is_read_as_it_is_written(
            base_ms in 0u64..100_000, factor in 1.0f64..100.0, more_ms in 0u64..10_000_000,
            waits_ms in prop::collection::vec(0u64..10_000_000, 1..32),
        ) {
            let ms = Duration::from_millis;
            for backoff in [
                Backoff::exponential(ms(base_ms), factor, ms(base_ms + more_ms)).unwrap(),
                Backoff::fixed(ms(base_ms)).unwrap(),
                Backoff::list(waits_ms.iter().copied().map(ms).collect()).unwrap(),
                Backoff::none(),
            ] {
                prop_assert_eq!(&backoff.to_string().parse::<Backoff>().unwrap(), &backoff);
            }
        }
    }
}
