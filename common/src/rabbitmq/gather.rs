//! When what waits for more is told.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// A bell for what waits. One timer for all: setting one anew for each acknowledgement wakes the
/// runtime each time, and costs as much as telling it.
#[derive(Debug)]
pub(super) struct Gather {
    patience: Duration,
    /// When the bell is to ring.
    due: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The timer runs: until `due`, or until an earlier one that was cleared.
    set: bool,
}

impl Gather {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            due: None,
            timer: Box::pin(sleep(patience)),
            set: false,
        }
    }

    /// Something waits, or nothing does any more. The first that waits decides.
    pub(super) fn pace(&mut self, waits: bool) {
        if !waits {
            self.due = None;
            return;
        }
        let due = *self
            .due
            .get_or_insert_with(|| Instant::now() + self.patience);
        if !self.set {
            self.set = true;
            self.timer.as_mut().reset(due);
        }
    }

    /// Rings once what waits has waited long enough. Safe to drop and call again.
    pub(super) async fn rings(&mut self) {
        loop {
            if !self.set {
                std::future::pending::<()>().await;
            }
            self.timer.as_mut().await;
            match self.due {
                Some(due) if due > Instant::now() => self.timer.as_mut().reset(due),
                due => {
                    (self.set, self.due) = (false, None);
                    if due.is_some() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn it_rings_once_for_all_that_wait() {
        let mut gather = Gather::new(PATIENCE);
        assert_eq!(gather.rings().now_or_never(), None, "nothing waits");
        for _ in 0..2 {
            gather.pace(true);
            gather.pace(true);
            gather.rings().await;
            assert_eq!(gather.rings().now_or_never(), None, "it has rung");
        }
    }

    #[tokio::test]
    async fn what_waits_after_it_was_cleared_has_its_own_time() {
        let mut gather = Gather::new(PATIENCE);
        gather.pace(true);
        sleep(PATIENCE / 2).await;
        gather.pace(false);
        let since = Instant::now();
        gather.pace(true);
        gather.rings().await;
        assert!(since.elapsed() >= PATIENCE, "{:?}", since.elapsed());
        gather.pace(true);
        gather.pace(false);
        sleep(PATIENCE).await;
        assert_eq!(gather.rings().now_or_never(), None, "nothing waits");
    }
}
