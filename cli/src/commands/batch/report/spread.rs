//! The distribution of very many durations, in little room.

use std::time::Duration;

use serde::Serialize;

/// Steps in each doubling: a percentile is at most 1 % off.
const STEPS: u64 = 64;

/// Durations, counted in steps that grow with them.
#[derive(Debug, Default)]
pub(super) struct Spread {
    steps: Vec<u64>,
    jobs: u64,
    total_ms: u64,
    max_ms: u64,
}

/// What is told of a [`Spread`].
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct SpreadView {
    pub(super) jobs: u64,
    pub(super) p50_ms: u64,
    pub(super) p95_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) max_ms: u64,
    pub(super) total_ms: u64,
}

impl Spread {
    pub(super) fn add(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let step = step(ms);
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += 1;
        self.jobs += 1;
        self.total_ms = self.total_ms.saturating_add(ms);
        self.max_ms = self.max_ms.max(ms);
    }

    /// The duration that `percent` of all do not exceed.
    fn percentile(&self, percent: u64) -> u64 {
        let mut left = (self.jobs * percent).div_ceil(100);
        for (step, count) in self.steps.iter().enumerate() {
            if *count >= left {
                return middle(step).min(self.max_ms);
            }
            left -= count;
        }
        self.max_ms
    }

    pub(super) fn view(&self) -> SpreadView {
        SpreadView {
            jobs: self.jobs,
            p50_ms: self.percentile(50),
            p95_ms: self.percentile(95),
            p99_ms: self.percentile(99),
            max_ms: self.max_ms,
            total_ms: self.total_ms,
        }
    }
}

/// Small ones by themselves, then 64 steps from each power of two to the next.
fn step(ms: u64) -> usize {
    let doublings = u64::from(ms.checked_ilog2().unwrap_or(0)).saturating_sub(6);
    usize::try_from(doublings * STEPS + (ms >> doublings)).unwrap_or(usize::MAX)
}

/// The middle of a step.
fn middle(step: usize) -> u64 {
    let step = step as u64;
    let doublings = (step / STEPS).saturating_sub(1);
    let from = (step - doublings * STEPS) << doublings;
    from + (1 << doublings) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_for_small_times_and_a_hundredth_off_for_large_ones() {
        for scale in [1, 1000, 3_600_000] {
            let mut spread = Spread::default();
            for n in (1..=100).rev() {
                spread.add(Duration::from_millis(n * scale));
            }
            let view = spread.view();
            for (found, wanted) in [(view.p50_ms, 50), (view.p95_ms, 95), (view.p99_ms, 99)] {
                let off = found.abs_diff(wanted * scale);
                assert!(
                    off * 100 <= wanted * scale,
                    "{found} for {wanted} × {scale}"
                );
            }
            assert_eq!((view.max_ms, view.jobs), (100 * scale, 100));
            assert_eq!(view.total_ms, 5050 * scale);
        }
    }

    #[test]
    fn any_duration_has_its_step() {
        let mut spread = Spread::default();
        assert_eq!(spread.view().p50_ms, 0);
        for ms in [0, 1, 63, 64, 127, 128, u64::MAX / 2, u64::MAX] {
            assert_eq!(step(ms), step(middle(step(ms))), "{ms}");
            spread.add(Duration::from_millis(ms));
        }
        assert!(spread.steps.len() < 4000);
        assert_eq!(spread.view().max_ms, u64::MAX);
    }
}
