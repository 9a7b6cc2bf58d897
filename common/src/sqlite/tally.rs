//! How many jobs each queue has in each state, gathered over a commit and written once in it.

use rusqlite::Connection;

use super::fault::Fault;
use crate::job::StateKind;

const STATES: usize = 8;

/// Differences that a commit makes. Queues are few, so a list is the fastest map.
#[derive(Debug, Default)]
pub(super) struct Tally(Vec<(String, [i64; STATES])>);

impl Tally {
    /// One job of `queue` went from one state to another; nothing stands for before and after.
    pub(super) fn moved(&mut self, queue: &str, from: Option<StateKind>, to: Option<StateKind>) {
        let found = self.0.iter().position(|(name, _)| name == queue);
        let at = found.unwrap_or_else(|| {
            self.0.push((queue.to_owned(), [0; STATES]));
            self.0.len() - 1
        });
        let counts = &mut self.0[at].1;
        if let Some(from) = from {
            counts[from as usize] -= 1;
        }
        if let Some(to) = to {
            counts[to as usize] += 1;
        }
    }

    /// Writes the differences into the open transaction.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Fault> {
        for (queue, counts) in self.0.drain(..) {
            for (state, by) in StateKind::ALL.iter().zip(counts) {
                if by != 0 {
                    db.prepare_cached(
                        "INSERT INTO tallies (queue, state, jobs) VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET jobs = jobs + excluded.jobs",
                    )?
                    .execute((&queue, state.as_str(), by))?;
                }
            }
        }
        Ok(())
    }
}
