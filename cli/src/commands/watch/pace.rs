//! How fast jobs end, and when the last one will have.

use std::{collections::VecDeque, time::Duration};

use super::target::Counts;

/// What ended within this long makes the rate.
const WINDOW: Duration = Duration::from_secs(30);

/// What was seen of late: when, and how many had ended.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seen: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// So many jobs had ended, so long after the beginning.
    pub(super) fn add(&mut self, at: Duration, ended: u64) {
        self.seen.push_back((at, ended));
        while self.seen.len() > 2 && at.saturating_sub(self.seen[0].0) > WINDOW {
            self.seen.pop_front();
        }
    }

    /// Jobs that end in a second; nothing before one has.
    pub(super) fn per_second(&self) -> Option<f64> {
        let (&(from, before), &(to, after)) = (self.seen.front()?, self.seen.back()?);
        let seconds = to.saturating_sub(from).as_secs_f64();
        let ended = after.saturating_sub(before);
        (ended > 0 && seconds > 0.0).then(|| ended as f64 / seconds)
    }

    /// How long the rest takes at this pace.
    pub(super) fn left(&self, open: u64) -> Option<Duration> {
        let seconds = open as f64 / self.per_second()?;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }
}

/// Jobs that have ended, and all.
pub(super) fn ended(counts: &Counts) -> (u64, u64) {
    let ended = counts.iter().filter(|(state, _)| state.is_terminal());
    (ended.map(|(_, count)| count).sum(), counts.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        let mut pace = Pace::default();
        assert_eq!((pace.per_second(), pace.left(10)), (None, None));
        for second in 0..=100 {
            let ended = if second <= 50 { 0 } else { (second - 50) * 4 };
            pace.add(Duration::from_secs(second), ended);
        }
        assert_eq!(pace.per_second(), Some(4.0));
        assert_eq!(pace.left(10), Some(Duration::from_secs(3)));
    }

    #[test]
    fn jobs_that_are_forgotten_make_no_negative_rate() {
        let mut pace = Pace::default();
        pace.add(Duration::ZERO, 10);
        pace.add(Duration::from_secs(1), 5);
        assert_eq!(pace.per_second(), None);
    }
}
