//! How far submitting runs ahead of what runs.

/// Jobs that wait for each slot: a million items are never all in the queue.
const AHEAD: usize = 32;
const JOBS: std::ops::RangeInclusive<usize> = 64..=2000;

/// How many jobs are submitted and not ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Window {
    /// So many whenever there are items.
    Exactly(usize),
    /// Enough that nobody waits for the next; more only once half of them have ended, so that they
    /// are written many at a time.
    About(usize),
}

impl Window {
    /// Enough for so many slots.
    pub(super) fn ahead_of(slots: usize) -> Self {
        Self::About(
            (slots * AHEAD)
                .clamp(*JOBS.start(), *JOBS.end())
                .max(slots * 2),
        )
    }

    /// How many may be submitted when so many have not ended.
    pub(super) fn room(self, open: usize) -> usize {
        match self {
            Self::Exactly(most) => most.saturating_sub(open),
            Self::About(most) if open < most / 2 => most - open,
            Self::About(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_submitted_at_a_time_and_never_all() {
        let window = Window::ahead_of(8);
        assert_eq!(
            (window.room(0), window.room(127), window.room(128)),
            (256, 129, 0)
        );
        assert_eq!(Window::ahead_of(0).room(0), 64);
        assert_eq!(
            Window::ahead_of(5000).room(0),
            10_000,
            "every slot has its next"
        );
    }

    #[test]
    fn an_exact_number_is_kept_up() {
        assert_eq!(
            (Window::Exactly(4).room(3), Window::Exactly(4).room(4)),
            (1, 0)
        );
    }
}
