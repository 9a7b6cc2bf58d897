//! When a run gives up.

use std::str::FromStr;

/// A share means little before so many have ended, where nobody knows how many there will be.
const ENDED_MIN: usize = 10;

/// When a run gives up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Halt {
    /// Whatever fails, the rest is done.
    Never,
    /// Once so many failed.
    Failed(How, Limit),
}

/// How a run gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// What runs may finish.
    Soon,
    /// What runs is stopped.
    Now,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    Items(usize),
    Percent(f64),
}

const FORMS: &str = "write never, soon,fail=3, now,fail=1, or with a share: soon,fail=10%";

impl FromStr for Halt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let (how, why) = text.split_once(',').ok_or(FORMS)?;
        let how = match how {
            "soon" => How::Soon,
            "now" => How::Now,
            _ => return Err(FORMS),
        };
        let limit = why.strip_prefix("fail=").ok_or(FORMS)?;
        let limit = match limit.strip_suffix('%') {
            Some(share) => Limit::Percent(share.parse().map_err(|_| FORMS)?),
            None => Limit::Items(limit.parse().map_err(|_| FORMS)?),
        };
        match limit {
            Limit::Items(0) => Err("nothing would run: the number must be 1 or more"),
            Limit::Percent(share) if !(share > 0.0 && share <= 100.0) => {
                Err("the share must be above 0% and at most 100%")
            }
            _ => Ok(Self::Failed(how, limit)),
        }
    }
}

impl Halt {
    /// How to give up, if it is time.
    pub(super) fn judge(self, failed: usize, ended: usize, total: Option<usize>) -> Option<How> {
        let Self::Failed(how, limit) = self else {
            return None;
        };
        let reached = match limit {
            Limit::Items(most) => failed >= most,
            Limit::Percent(share) => {
                let of = total.or((ended >= ENDED_MIN).then_some(ended));
                failed > 0 && of.is_some_and(|of| failed as f64 * 100.0 >= share * of as f64)
            }
        };
        reached.then_some(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_parallel() {
        assert_eq!("never".parse(), Ok(Halt::Never));
        let now = Halt::Failed(How::Now, Limit::Items(1));
        assert_eq!("now,fail=1".parse(), Ok(now));
        let soon = Halt::Failed(How::Soon, Limit::Percent(2.5));
        assert_eq!("soon,fail=2.5%".parse(), Ok(soon));
        for wrong in [
            "",
            "soon",
            "now,fail",
            "later,fail=1",
            "now,fail=0",
            "now,fail=101%",
        ] {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_of_all_items_or_of_enough_that_ended() {
        let halt: Halt = "soon,fail=10%".parse().unwrap();
        assert_eq!(halt.judge(9, 9, Some(100)), None);
        assert_eq!(halt.judge(10, 50, Some(100)), Some(How::Soon));
        assert_eq!(halt.judge(1, 1, None), None, "too early to tell");
        assert_eq!(halt.judge(1, 10, None), Some(How::Soon));
    }
}
